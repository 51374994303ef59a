//! Times as RFC 3339 text.

use std::time::SystemTime;

/// RFC 3339 in UTC with milliseconds, as in `2026-11-22T15:00:00.123Z`.
pub fn rfc3339(time: SystemTime) -> String {
    // A clock outside jiff's years -9999 to 9999 is shown as 1970.
    let timestamp = jiff::Timestamp::try_from(time).unwrap_or_default();
    format!("{timestamp:.3}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_have_milliseconds_and_are_utc() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_359_600_123);
        assert_eq!(rfc3339(time), "2026-11-22T15:00:00.123Z");
        let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_359_600);
        assert_eq!(rfc3339(whole), "2026-11-22T15:00:00.000Z");
        let nearly = SystemTime::UNIX_EPOCH + Duration::from_nanos(999_999_999);
        assert_eq!(rfc3339(nearly), "1970-01-01T00:00:00.999Z");
    }
}
