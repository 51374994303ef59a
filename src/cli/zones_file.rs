//! Reads the file of the user's zones: one network per line, with the name of its zone and,
//! optionally, the price of a gigabyte.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use crate::model::net::Net;
use crate::model::peer_zone::{PeerZone, ZonePrice, ZoneTable, is_zone_name};
use crate::text::sanitize::sanitize;

/// Maximum size in bytes: the published ranges of the largest providers take a tenth of it.
const MAX_FILE: u64 = 8 << 20;
/// Maximum number of zones: each has a part in the record of an interval, which is one line of at
/// most 64 KiB.
const MAX_ZONES: usize = 128;

/// Reads a file of zones with the rights that this thread has.
///
/// # Errors
/// A sentence with the file and, where the file can be read, the line and what to write instead.
pub(super) fn read(path: &Path) -> Result<ZoneTable, String> {
    let shown = sanitize(&path.to_string_lossy()).into_owned();
    let text = text(path).map_err(|error| format!("{shown}: {error}"))?;
    parse(&text).map_err(|(line, error)| format!("{shown}: line {line}: {error}"))
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)?;
    match read as u64 > MAX_FILE {
        true => Err(io::Error::other(
            "it is larger than 8 MiB: give a file of zones, as in office 10.0.0.0/8 on each line",
        )),
        false => Ok(text),
    }
}

/// The first mistake: its line, and what to write.
type Mistake = (usize, String);

fn parse(text: &str) -> Result<ZoneTable, Mistake> {
    let mut nets: Vec<(Net, Arc<str>)> = Vec::new();
    let mut lines: HashMap<Net, usize> = HashMap::new();
    // The price of each zone, with the line that sets it.
    let mut prices: HashMap<Arc<str>, Option<(ZonePrice, usize)>> = HashMap::new();
    for (line, text) in (1..).zip(text.lines()) {
        let wrong = |error: String| (line, error);
        let text = text.split_once('#').map_or(text, |(text, _)| text);
        let words: Vec<&str> = text.split_whitespace().collect();
        let (name, net, price) = match words[..] {
            [] => continue,
            [name, net] => (name, net, None),
            [name, net, tx] => (name, net, Some((tx, "0"))),
            [name, net, tx, rx] => (name, net, Some((tx, rx))),
            _ => {
                return Err(wrong(
                    "write a name, a network and, if it has one, the price per GB sent and received, as in \
                     internet 0.0.0.0/0 0.09"
                        .to_owned(),
                ));
            }
        };
        if !is_zone_name(name) {
            return Err(wrong(format!(
                "\"{}\" is not a name of a zone: write at most 64 characters of ASCII",
                sanitize(name)
            )));
        }
        let net = network(net).map_err(wrong)?;
        if let Some(first) = lines.insert(net, line) {
            return Err(wrong(format!(
                "{net} is on line {first} too: leave one out"
            )));
        }
        let price = price.map(price_of).transpose().map_err(wrong)?;
        if prices.len() >= MAX_ZONES && !prices.contains_key(name) {
            return Err(wrong(format!(
                "there are more than {MAX_ZONES} names: give networks of one price one name"
            )));
        }
        let (name, known) = match prices.get_key_value(name) {
            Some((known, price)) => (Arc::clone(known), *price),
            None => (Arc::from(name), None),
        };
        let price = match (known, price) {
            (Some((known, first)), Some(price)) if known != price => {
                return Err(wrong(format!(
                    "\"{name}\" has another price on line {first}: give a zone one price"
                )));
            }
            (known, price) => known.or(price.map(|price| (price, line))),
        };
        prices.insert(Arc::clone(&name), price);
        nets.push((net, name));
    }
    let zone = |(name, price): (&Arc<str>, &Option<(ZonePrice, usize)>)| {
        let zone = PeerZone {
            name: Arc::clone(name),
            price: price.map(|(price, _)| price),
        };
        (Arc::clone(name), Arc::new(zone))
    };
    let zones: HashMap<Arc<str>, Arc<PeerZone>> = prices.iter().map(zone).collect();
    let nets = nets.into_iter();
    Ok(ZoneTable::new(nets.filter_map(|(net, name)| {
        Some((net, Arc::clone(zones.get(&name)?)))
    })))
}

/// Parses a network; an address is the network of this one address.
fn network(word: &str) -> Result<Net, String> {
    let shown = sanitize(word);
    let wrong =
        || format!("\"{shown}\" is not a network: write one, as in 10.0.0.0/8 or 2001:db8::/32");
    let (addr, prefix) = match word.split_once('/') {
        Some((addr, prefix)) => (addr, Some(prefix)),
        None => (word, None),
    };
    let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
    let most = Net::bits(addr);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = match prefix {
        None => most,
        Some(prefix) => {
            let length = prefix.parse().ok().filter(|_| digits(prefix));
            let length = length.filter(|&length: &u8| length <= most);
            length.ok_or_else(|| {
                format!("\"{shown}\" has no length of a prefix: write a number from 0 to {most} after the slash")
            })?
        }
    };
    let net = Net::of(addr, prefix);
    if net.addr != addr {
        return Err(format!(
            "\"{shown}\" has bits set beyond its prefix: write {net}"
        ));
    }
    // Flows have no IPv4-mapped addresses.
    match (addr.to_canonical(), prefix.checked_sub(96)) {
        (v4 @ IpAddr::V4(_), Some(prefix)) if addr.is_ipv6() => Ok(Net::of(v4, prefix)),
        _ => Ok(net),
    }
}

fn price_of((tx, rx): (&str, &str)) -> Result<ZonePrice, String> {
    let price = |word: &str| {
        // Digits and a point only: no sign, exponent or infinity.
        let is_plain = word
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        let price = word.parse().ok().filter(|_| is_plain);
        price.and_then(ZonePrice::millionths).ok_or_else(|| {
            format!(
                "\"{}\" is not a price per GB: write a number from 0 to {}, as in 0.09",
                sanitize(word),
                ZonePrice::MAX
            )
        })
    };
    Ok(ZonePrice {
        tx: price(tx)?,
        rx: price(rx)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::Endpoint;

    fn zone(table: &ZoneTable, addr: &str) -> Option<(String, Option<ZonePrice>)> {
        let zone = table.of(&Endpoint::new(addr.parse().unwrap(), 443))?;
        Some((zone.name.to_string(), zone.price))
    }

    #[test]
    fn each_line_is_a_network_of_a_zone() {
        let table = parse(
            "# own zones\n\
             \n\
             office 10.0.0.0/8   # all sites\n\
             aws-eu 10.9.0.0/16 0.02 0.01\n\
             aws-eu 2001:db8::/32\n\
             internet 0.0.0.0/0 0.09\n\
             server 192.0.2.7\n\
             mapped ::ffff:203.0.113.0/120\n",
        )
        .unwrap();
        let price = |tx, rx| Some(ZonePrice { tx, rx });
        for (addr, name, expected) in [
            ("10.1.1.1", "office", None),
            ("10.9.1.1", "aws-eu", price(20_000, 10_000)),
            // The price of a zone is that of all its networks.
            ("2001:db8::1", "aws-eu", price(20_000, 10_000)),
            ("198.51.100.1", "internet", price(90_000, 0)),
            ("192.0.2.7", "server", None),
            ("203.0.113.9", "mapped", None),
        ] {
            assert_eq!(
                zone(&table, addr),
                Some((name.to_owned(), expected)),
                "{addr}"
            );
        }
        assert_eq!(zone(&table, "2001:db9::1"), None);
        assert!(parse("# nothing\n").unwrap().is_empty());
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_what_to_write() {
        for (text, line, error) in [
            ("a", 1, "write a name, a network"),
            ("a 10.0.0.0/8 1 2 3", 1, "write a name, a network"),
            ("\na 10.0.0.0/33", 2, "write a number from 0 to 32"),
            ("a 10.0.0.0/", 1, "write a number from 0 to 32"),
            ("a ::/+8", 1, "write a number from 0 to 128"),
            ("a 10.0.0.1/8", 1, "write 10.0.0.0/8"),
            ("a example.com", 1, "\"example.com\" is not a network"),
            ("a 10.0.0.0/8 -1", 1, "\"-1\" is not a price per GB"),
            ("a 10.0.0.0/8 1e9", 1, "not a price"),
            ("a 10.0.0.0/8 inf", 1, "not a price"),
            ("a 10.0.0.0/8 0.1 2000000", 1, "from 0 to 1000000"),
            ("a\u{e4} 10.0.0.0/8", 1, "not a name of a zone"),
            ("a 10.0.0.0/8\n\nb 10.0.0.0/8", 3, "on line 1 too"),
            (
                "a 10.0.0.0/8 1\na 11.0.0.0/8 2",
                2,
                "another price on line 1",
            ),
        ] {
            let (at, message) = parse(text).unwrap_err();
            assert_eq!(at, line, "{text}");
            assert!(message.contains(error), "{text}: {message}");
        }
        let many: String = (0..=MAX_ZONES)
            .map(|n| format!("z{n} 10.0.{n}.0/24\n"))
            .collect();
        assert_eq!(parse(&many).unwrap_err().0, MAX_ZONES + 1);
    }
}
