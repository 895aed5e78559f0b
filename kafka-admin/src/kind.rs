//! The kind of a group.
//!
//! librdkafka knows classic groups and those of KIP-848. It lists share groups (KIP-932), but reports nothing else about them; and their
//! committed offsets are empty, like those of a group that never existed.

use std::{ffi::CString, time::Duration};

use rdkafka::{
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
};
use rdkafka_sys as ffi;

use super::{Admin, Event, NEVER};

/// The state that brokers report for a group that is not a classic one.
const NOT_CLASSIC: &str = "Dead";

impl Admin {
    /// Whether the group exists and is neither a classic one nor one of KIP-848: then it is a share group, or one of Kafka Streams
    /// (KIP-1071).
    pub fn is_of_another_kind(&self, group: &str, within: Duration) -> Result<bool, String> {
        let listed = match self.client.fetch_group_list(Some(group), within) {
            Ok(listed) => listed,
            // Brokers too old for this request have no other kinds of groups.
            Err(KafkaError::GroupListFetch(RDKafkaErrorCode::UnsupportedFeature)) => return Ok(false),
            Err(error) => return Err(error.to_string()),
        };
        let is_classic = listed.groups().iter().all(|known| known.name() != group || known.state() != NOT_CLASSIC);
        Ok(!is_classic && !self.is_of_consumers(group, within)?)
    }

    /// Whether the group is one of KIP-848: brokers describe those by another request than classic ones.
    fn is_of_consumers(&self, group: &str, within: Duration) -> Result<bool, String> {
        let queue = self.queue()?;
        let options = self.options(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, NEVER)?;
        let name = CString::new(group).map_err(|_| format!("group {group:?} has a zero byte"))?;
        let mut names = [name.as_ptr()];
        // SAFETY: all are alive until the end of this function, and librdkafka copies the name and the options.
        unsafe {
            ffi::rd_kafka_DescribeConsumerGroups(
                self.native(),
                names.as_mut_ptr(),
                names.len(),
                options.0.as_ptr(),
                queue.0.as_ptr(),
            );
        }
        let event = self.answer(&queue, within).ok_or_else(|| format!("no answer within {within:?}"))?;
        event.check()?;
        Ok(kind_of(&event) == Some(ffi::rd_kafka_consumer_group_type_t::RD_KAFKA_CONSUMER_GROUP_TYPE_CONSUMER))
    }
}

/// The kind of the one requested group.
fn kind_of(event: &Event) -> Option<ffi::rd_kafka_consumer_group_type_t> {
    // SAFETY: the result and what it points to live as long as the event. There are as many groups as `count` says.
    unsafe {
        let result = ffi::rd_kafka_event_DescribeConsumerGroups_result(event.0.as_ptr());
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let groups = ffi::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        (count > 0).then(|| ffi::rd_kafka_ConsumerGroupDescription_type(*groups))
    }
}
