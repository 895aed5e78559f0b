//! Three calls of librdkafka's admin API that its Rust wrapper lacks: ListOffsets, ListConsumerGroupOffsets and
//! DescribeConsumerGroups.
//!
//! The only crate of Tidegate with `unsafe`. A guard owns every pointer that librdkafka hands out, and frees it; the data that a result
//! points to is copied before its event is destroyed; strings go in as `CString`s that outlive the call. The calls block, at most for
//! the timeout that they are given.

mod kind;

use std::{
    collections::HashMap,
    error::Error,
    ffi::{CStr, CString, c_void},
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::{
    ClientConfig, ClientContext,
    client::OAuthToken,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    metadata::{MetadataPartition, MetadataTopic},
};
use rdkafka_sys as ffi;

/// A partition of a topic.
pub type Partition = (String, i32);

/// The answer about each partition: an offset, or why there is none.
pub type Offsets = HashMap<Partition, Result<i64, String>>;

/// Which end of a partition.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// The first message that is still there
    Earliest,
    /// Just past the last message
    Latest,
}

/// A connection to a Kafka cluster that joins no group and reads no message. It is a consumer's, because a producer's creates
/// missing topics that it asks about.
pub struct Admin {
    client: BaseConsumer<Context>,
    unanswered: AtomicBool,
}

/// The connection's callbacks: they record its errors and get its tokens.
struct Context {
    /// The last error that the connection reported: the errors of calls only say that it is down
    complaint: Mutex<Option<String>>,
    oauth: Option<Oauth>,
}

/// Function that returns a token for SASL OAUTHBEARER, or the reason why there is none. It may block.
pub type TokenSource = Box<dyn Fn() -> Result<OAuthToken, String> + Send + Sync>;

/// The source of the connection's tokens.
struct Oauth {
    tokens: TokenSource,
    /// Whether the source has given or refused a token
    answered: AtomicBool,
}

impl Context {
    fn last(&self) -> MutexGuard<'_, Option<String>> {
        self.complaint.lock()
    }

    fn waits_for_token(&self) -> bool {
        self.oauth.as_ref().is_some_and(|oauth| !oauth.answered.load(Ordering::Relaxed))
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn error(&self, error: KafkaError, reason: &str) {
        // It follows the error that says why they are down.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            return;
        }
        let text = if reason.is_empty() { error.to_string() } else { reason.to_owned() };
        // The suffix, with the time it took and the number of repeats, differs each time.
        *self.last() = Some(text.split(" (after ").next().unwrap_or(&text).to_owned());
    }

    /// Called while the connection is polled.
    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let oauth = self.oauth.as_ref().ok_or("tokens are not asked for")?;
        oauth.answered.store(true, Ordering::Relaxed);
        Ok((oauth.tokens)().inspect_err(|error| *self.last() = Some(error.clone()))?)
    }
}

impl ConsumerContext for Context {}

/// Groups per batch: each is one request to its coordinator.
const AT_ONCE: usize = 500;
/// librdkafka's own timeout. It aborts the process when a request that it timed out itself is answered later
/// (confluentinc/librdkafka#4605). So the maximum is set here, and the whole client is dropped when an answer is overdue.
const NEVER: Duration = Duration::from_secs(3600);

/// How long to wait for the connection's errors after each sweep, and how many are taken then.
const NEWS_WITHIN: Duration = Duration::from_millis(10);
const MOST_NEWS: usize = 1000;

impl Admin {
    /// Connects with librdkafka's settings, and gets a first token where the brokers want one. The error says what is wrong.
    pub fn new(settings: &ClientConfig, tokens: Option<TokenSource>, within: Duration) -> Result<Self, String> {
        let oauth = tokens.map(|tokens| Oauth { tokens, answered: AtomicBool::new(false) });
        let context = Context { complaint: Mutex::default(), oauth };
        let client: BaseConsumer<_> = settings.create_with_context(context).map_err(|error| error.to_string())?;
        let end = Instant::now() + within;
        while client.context().waits_for_token() && Instant::now() < end {
            client.poll(Duration::from_millis(100));
        }
        let refused = client.context().oauth.as_ref().and_then(|_| client.context().last().take());
        refused.map_or(Ok(Self { client, unanswered: AtomicBool::new(false) }), Err)
    }

    /// Whether an answer is overdue, so that this client must not be used again.
    pub fn is_spent(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// The last error that the connection reported since the last call.
    pub fn complaint(&self) -> Option<String> {
        // No topic is assigned, so only the connection's own events can arrive. A poll that gets a line of its log returns nothing,
        // like one that gets no event, but goes on until its timeout.
        let news = std::iter::from_fn(|| self.client.poll(NEWS_WITHIN));
        news.take(MOST_NEWS).for_each(drop);
        self.client.context().last().take()
    }

    /// The partitions of a topic, or of every topic that may be described; or the reason why they are not known.
    pub fn partitions(
        &self,
        topic: Option<&str>,
        within: Duration,
    ) -> Result<HashMap<String, Result<Vec<i32>, String>>, String> {
        let metadata = self.client.fetch_metadata(topic, within).map_err(|error| error.to_string())?;
        let of = |topic: &MetadataTopic| match topic.error() {
            None => Ok(topic.partitions().iter().map(MetadataPartition::id).collect()),
            Some(ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Err("does not exist".to_owned()),
            // SAFETY: a static string for every code.
            Some(error) => Err(unsafe { text(ffi::rd_kafka_err2str(error)) }),
        };
        Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), of(topic))).collect())
    }

    /// One end of each partition, with one request per leader.
    pub fn ends(
        &self,
        partitions: &[Partition],
        end: End,
        read_committed: bool,
        within: Duration,
    ) -> Result<Offsets, String> {
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let spec = match end {
            End::Earliest => ffi::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST,
            End::Latest => ffi::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST,
        };
        let isolation = if read_committed {
            ffi::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED
        } else {
            ffi::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
        };
        let queue = self.queue()?;
        let options = self.options(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, within)?;
        let list = List::new(partitions, spec as i64)?;
        // SAFETY: all four are alive until the end of this function, and librdkafka copies the list and the options.
        unsafe {
            let error = ffi::rd_kafka_AdminOptions_set_isolation_level(options.0.as_ptr(), isolation);
            if !error.is_null() {
                ffi::rd_kafka_error_destroy(error);
            }
            ffi::rd_kafka_ListOffsets(self.native(), list.0.as_ptr(), options.0.as_ptr(), queue.0.as_ptr());
        }
        let event = queue.poll(within).ok_or_else(|| format!("no answer within {within:?}"))?;
        event.check()?;
        let mut offsets = Offsets::new();
        // SAFETY: the result and what it points to live as long as the event. A null result has no elements.
        unsafe {
            let result = ffi::rd_kafka_event_ListOffsets_result(event.0.as_ptr());
            if result.is_null() {
                return Err("librdkafka answered something else than offsets".to_owned());
            }
            let mut count = 0;
            let infos = ffi::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            for index in 0..count {
                let partition = ffi::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
                let (name, offset) = read(partition);
                offsets.insert(name, offset);
            }
        }
        Ok(offsets)
    }

    /// All committed offsets of each group. A partition without one is absent.
    pub fn committed(&self, groups: &[String], within: Duration) -> HashMap<String, Result<Offsets, String>> {
        let mut all = HashMap::new();
        for groups in groups.chunks(AT_ONCE) {
            match self.committed_by_some(groups, within) {
                Ok(answers) => all.extend(answers),
                Err(error) => all.extend(groups.iter().map(|group| (group.clone(), Err(error.clone())))),
            }
        }
        all
    }

    fn committed_by_some(
        &self,
        groups: &[String],
        within: Duration,
    ) -> Result<HashMap<String, Result<Offsets, String>>, String> {
        let queue = self.queue()?;
        let options = self.options(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, NEVER)?;
        let mut answers: HashMap<_, _> =
            groups.iter().map(|group| (group.clone(), Err(format!("no answer within {within:?}")))).collect();
        for (index, group) in groups.iter().enumerate() {
            let name = CString::new(group.as_str()).map_err(|_| format!("group {group:?} has a zero byte"))?;
            // SAFETY: librdkafka copies the request; the opaque is the index and never followed as a pointer.
            unsafe {
                ffi::rd_kafka_AdminOptions_set_opaque(options.0.as_ptr(), ptr::without_provenance_mut::<c_void>(index));
                let mut request = ffi::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), ptr::null());
                ffi::rd_kafka_ListConsumerGroupOffsets(
                    self.native(),
                    &raw mut request,
                    1,
                    options.0.as_ptr(),
                    queue.0.as_ptr(),
                );
                ffi::rd_kafka_ListConsumerGroupOffsets_destroy(request);
            }
        }
        let end = Instant::now() + within;
        for _ in groups {
            let left = end.saturating_duration_since(Instant::now());
            let Some(event) = self.answer(&queue, left) else { break };
            // SAFETY: the opaque is the index set above.
            let index = unsafe { ffi::rd_kafka_event_opaque(event.0.as_ptr()) }.addr();
            let Some(group) = groups.get(index) else { continue };
            answers.insert(group.clone(), event.check().and_then(|()| committed_of(&event)));
        }
        Ok(answers)
    }

    /// The answer to a request whose own timeout is [`NEVER`]; without one, the client is spent.
    fn answer(&self, queue: &Queue, within: Duration) -> Option<Event> {
        let event = queue.poll(within);
        if event.is_none() {
            self.unanswered.store(true, Ordering::Relaxed);
        }
        event
    }

    fn native(&self) -> *mut ffi::rd_kafka_t {
        self.client.client().native_ptr()
    }

    fn queue(&self) -> Result<Queue, String> {
        // SAFETY: the client lives as long as `self`, and a queue no longer than the call that made it.
        let queue = unsafe { ffi::rd_kafka_queue_new(self.native()) };
        NonNull::new(queue).map(Queue).ok_or_else(|| "librdkafka gave no queue".to_owned())
    }

    fn options(&self, call: ffi::rd_kafka_admin_op_t, within: Duration) -> Result<Options, String> {
        // SAFETY: as for the queue. With an error buffer of size 0, no error text is written.
        unsafe {
            let options = ffi::rd_kafka_AdminOptions_new(self.native(), call);
            let options = NonNull::new(options).map(Options).ok_or("librdkafka knows no such call")?;
            ffi::rd_kafka_AdminOptions_set_request_timeout(
                options.0.as_ptr(),
                milliseconds(within),
                ptr::null_mut(),
                0,
            );
            Ok(options)
        }
    }
}

/// Adds the missing ACL to an authorization error: `of` is `topic` or `group`.
pub fn advised(error: String, of: &str, name: &str) -> String {
    if !error.ends_with("authorization failed") {
        return error;
    }
    format!("{error}: give Tidegate's user the ACL Describe (kafka-acls --add --operation Describe --{of} {name})")
}

fn committed_of(event: &Event) -> Result<Offsets, String> {
    let mut offsets = Offsets::new();
    // SAFETY: the result and what it points to live as long as the event.
    unsafe {
        let result = ffi::rd_kafka_event_ListConsumerGroupOffsets_result(event.0.as_ptr());
        if result.is_null() {
            return Err("librdkafka answered something else than a group's offsets".to_owned());
        }
        let mut count = 0;
        let groups = ffi::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
        for index in 0..count {
            let group = *groups.add(index);
            let error = ffi::rd_kafka_group_result_error(group);
            if !error.is_null() {
                return Err(text(ffi::rd_kafka_error_string(error)));
            }
            let list = ffi::rd_kafka_group_result_partitions(group);
            if list.is_null() {
                continue;
            }
            for element in 0..usize::try_from((*list).cnt).unwrap_or(0) {
                let (partition, offset) = read((*list).elems.add(element));
                // -1001: the group has committed nothing there.
                if !matches!(offset, Ok(offset) if offset < 0) {
                    offsets.insert(partition, offset);
                }
            }
        }
    }
    Ok(offsets)
}

/// # Safety
/// `partition` is not null and points to a live element.
unsafe fn read(partition: *const ffi::rd_kafka_topic_partition_t) -> (Partition, Result<i64, String>) {
    // SAFETY: the caller's promise.
    let partition = unsafe { &*partition };
    // SAFETY: librdkafka's own zero-terminated string.
    let name = (unsafe { text(partition.topic) }, partition.partition);
    if partition.err == ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return (name, Ok(partition.offset));
    }
    // SAFETY: a static string for every code.
    (name, Err(unsafe { text(ffi::rd_kafka_err2str(partition.err)) }))
}

/// # Safety
/// `pointer` is null or points to a zero-terminated string.
unsafe fn text(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

struct Queue(NonNull<ffi::rd_kafka_queue_t>);

impl Queue {
    fn poll(&self, within: Duration) -> Option<Event> {
        // SAFETY: the queue is alive; the event is ours.
        NonNull::new(unsafe { ffi::rd_kafka_queue_poll(self.0.as_ptr(), milliseconds(within)) }).map(Event)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_queue_new, and destroyed once. Answers that come later are dropped with it.
        unsafe { ffi::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

struct Options(NonNull<ffi::rd_kafka_AdminOptions_t>);

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_AdminOptions_new, and destroyed once.
        unsafe { ffi::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) }
    }
}

struct Event(NonNull<ffi::rd_kafka_event_t>);

impl Event {
    fn check(&self) -> Result<(), String> {
        // SAFETY: the event is alive.
        unsafe {
            match ffi::rd_kafka_event_error(self.0.as_ptr()) {
                ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
                _ => Err(text(ffi::rd_kafka_event_error_string(self.0.as_ptr()))),
            }
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: given by rd_kafka_queue_poll, and destroyed once.
        unsafe { ffi::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

struct List(NonNull<ffi::rd_kafka_topic_partition_list_t>);

impl List {
    fn new(partitions: &[Partition], offset: i64) -> Result<Self, String> {
        let size = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        // SAFETY: the size is a hint.
        let list = NonNull::new(unsafe { ffi::rd_kafka_topic_partition_list_new(size) }).map(Self);
        let list = list.ok_or("librdkafka gave no list")?;
        for (topic, partition) in partitions {
            let topic = CString::new(topic.as_str()).map_err(|_| format!("topic {topic:?} has a zero byte"))?;
            // SAFETY: the list is alive; librdkafka copies the name; the element is valid until the next is added.
            unsafe {
                let element = ffi::rd_kafka_topic_partition_list_add(list.0.as_ptr(), topic.as_ptr(), *partition);
                (*element).offset = offset;
            }
        }
        Ok(list)
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_topic_partition_list_new, and destroyed once.
        unsafe { ffi::rd_kafka_topic_partition_list_destroy(self.0.as_ptr()) }
    }
}
