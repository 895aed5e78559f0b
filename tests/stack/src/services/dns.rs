//! A DNS server for the names of Services: A records, answered from memory.

use std::net::Ipv4Addr;

use tokio::net::UdpSocket;

use super::Services;

/// Seconds that an answer may be kept; pods come and go within tests.
const TTL: u32 = 1;
const NAME_ERROR: u8 = 3;
const TYPE_A: u16 = 1;

/// Answers until the stack ends.
pub(super) async fn serve(socket: UdpSocket, services: Services) {
    let mut buffer = [0; 1500];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(question) = Question::parse(&buffer[..length]) else { continue };
        let addresses = question.service().map(|(name, namespace)| services.addresses(namespace, name));
        // If an answer is lost, the client asks again.
        let _ = socket.send_to(&question.answer(addresses.flatten().as_deref()), from).await;
    }
}

/// The one question of a query.
struct Question<'a> {
    /// Header and question, without the sections that follow.
    query: &'a [u8],
    /// In lower case, without the last dot.
    name: String,
    kind: u16,
}

impl<'a> Question<'a> {
    fn parse(packet: &'a [u8]) -> Option<Self> {
        let is_query = packet.get(2)? & 0x80 == 0;
        let questions = u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]);
        if !is_query || questions != 1 {
            return None;
        }
        let (mut labels, mut at) = (Vec::new(), 12);
        loop {
            let length = usize::from(*packet.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            let label = packet.get(at..at + length)?;
            labels.push(std::str::from_utf8(label).ok()?.to_ascii_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
        Some(Self { query: packet.get(..at + 4)?, name: labels.join("."), kind })
    }

    /// Service and namespace, if the name is that of a Service.
    fn service(&self) -> Option<(&str, &str)> {
        let name = self.name.strip_suffix(".cluster.local").unwrap_or(&self.name);
        let (service, namespace) = name.strip_suffix(".svc")?.split_once('.')?;
        (!namespace.contains('.')).then_some((service, namespace))
    }

    /// The response; `None` means that the name does not exist.
    fn answer(&self, addresses: Option<&[Ipv4Addr]>) -> Vec<u8> {
        let records = if self.kind == TYPE_A { addresses.unwrap_or_default() } else { &[] };
        let mut answer = self.query.to_vec();
        // An authoritative response; the flag for recursion is the query's.
        answer[2] = 0x84 | (self.query[2] & 0x01);
        answer[3] = 0x80 | if addresses.is_some() { 0 } else { NAME_ERROR };
        let count = u16::try_from(records.len()).unwrap_or(u16::MAX).min(60);
        answer[6..8].copy_from_slice(&count.to_be_bytes());
        answer[8..12].fill(0);
        for address in &records[..usize::from(count)] {
            // A pointer to the name at byte 12; type A; class IN. Then the TTL, and an address of four bytes.
            answer.extend([0xc0, 12, 0, 1, 0, 1]);
            answer.extend(TTL.to_be_bytes());
            answer.extend([0, 4]);
            answer.extend(address.octets());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend(label.bytes());
        }
        query.extend([0, 0, kind, 0, 1]);
        query
    }

    #[test]
    fn the_short_and_the_full_name_of_a_service_are_known() {
        for name in ["Tidegate.ns.svc", "tidegate.ns.svc.cluster.local"] {
            let packet = query(name, 1);
            assert_eq!(Question::parse(&packet).unwrap().service(), Some(("tidegate", "ns")), "{name}");
        }
        for name in ["tidegate.ns", "a.b.c.svc.cluster.local", "example.com"] {
            let packet = query(name, 1);
            assert_eq!(Question::parse(&packet).unwrap().service(), None, "{name}");
        }
    }

    #[test]
    fn every_address_is_one_record() {
        let packet = query("a.b.svc", 1);
        let answer = Question::parse(&packet).unwrap().answer(Some(&[[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]));
        assert_eq!(answer[..8], [0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 2]);
        assert!(answer.ends_with(&[0, 4, 10, 0, 0, 2]));
    }

    #[test]
    fn an_unknown_name_does_not_exist_and_a_known_one_has_no_address_of_another_kind() {
        let packet = query("a.b.svc", 1);
        assert_eq!(Question::parse(&packet).unwrap().answer(None)[3] & 0x0f, NAME_ERROR);
        let packet = query("a.b.svc", 28);
        let answer = Question::parse(&packet).unwrap().answer(Some(&[[10, 0, 0, 1].into()]));
        assert_eq!((answer[3] & 0x0f, answer[7]), (0, 0));
    }

    #[test]
    fn broken_packets_are_not_answered() {
        let packet = query("a.b.svc", 1);
        for length in 0..packet.len() - 1 {
            assert!(Question::parse(&packet[..length]).is_none(), "{length}");
        }
    }
}
