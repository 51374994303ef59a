//! Any bytes are read as a recording up to their damage, without a panic and in bounded memory. What was
//! read is written as a recording that reads the same, and adds up whatever is made of it.
#![no_main]

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use flowtop::history::History;
use flowtop::names::Names;
use flowtop::rank::Ranking;
use flowtop::replay::{Frame, Reader};
use flowtop::report::Report as _;
use flowtop::report::csv::Csv;
use flowtop::report::json::Json;
use flowtop::report::text::Text;
use flowtop::table::Group;
use libfuzzer_sys::fuzz_target;

/// More is not looked at: what is packed may be a thousand times as much.
const MOST: usize = 200;

fn read(bytes: &[u8]) -> (Vec<Frame>, bool) {
    let Ok(reader) = Reader::new(Path::new("fuzz"), Box::new(Cursor::new(bytes.to_vec()))) else {
        return (Vec::new(), true);
    };
    let mut frames = Vec::new();
    for frame in reader.take(MOST) {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(damage) => {
                let said = damage.to_string();
                assert!(!said.chars().any(char::is_control), "{said:?}");
                return (frames, true);
            }
        }
    }
    (frames, false)
}

fn written(frames: &[Frame]) -> Vec<u8> {
    let (mut out, mut json) = (Vec::new(), Json::default());
    for frame in frames {
        json.learn(&frame.told);
        let ranking = Ranking::new(&frame.interval, None);
        json.append(&ranking, &Names::off(), &mut out).unwrap();
    }
    out
}

fuzz_target!(|bytes: &[u8]| {
    let (frames, _) = read(bytes);
    let first = written(&frames);
    let (again, damaged) = read(&first);
    assert!(!damaged);
    assert_eq!(again.len(), frames.len());
    assert!(written(&again) == first);

    let (mut text, mut csv, mut history) = (Text::default(), Csv::default(), History::new());
    let mut moved = 0;
    let mut elapsed = Duration::ZERO;
    for Frame { interval, told } in &frames {
        history.add(interval);
        let total = interval.total();
        moved += total.rx_bytes + total.tx_bytes;
        elapsed += interval.elapsed;
        let ranking = Ranking::new(interval, Some(3));
        let mut out = Vec::new();
        text.learn(told);
        text.append(&ranking, &Names::off(), &mut out).unwrap();
        csv.append(&ranking, &Names::off(), &mut out).unwrap();
        for group in [Group::Process, Group::User, Group::Unit, Group::Port] {
            let ranking = Ranking::grouped(interval, group, &(), Some(3));
            text.append_groups(group, &ranking, &Names::off(), &mut out).unwrap();
        }
        let out = String::from_utf8(out).unwrap();
        assert!(!out.chars().any(|c| c.is_control() && c != '\n'), "{out:?}");
    }
    let all = history.all().total;
    assert_eq!(all.rx_bytes + all.tx_bytes, moved);
    assert_eq!(history.clock().at, elapsed);
});
