//! The text of passwd(5) and group(5).

/// A line of passwd(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account<'a> {
    pub name: &'a [u8],
    pub uid: u32,
    /// The id of the primary group; `None` where the line ends before it or it is no number.
    pub gid: Option<u32>,
    /// The home folder; `None` where the line ends before it.
    pub home: Option<&'a [u8]>,
}

/// Parses the text of passwd(5), in its order. Lines without a name or a user id, comments and
/// lines of NIS, which begin with `+` or `-`, are skipped.
pub fn accounts(passwd: &[u8]) -> impl Iterator<Item = Account<'_>> {
    records(passwd).filter_map(|fields| {
        let name = *fields.first()?;
        if matches!(name.first(), None | Some(b'#' | b'+' | b'-')) {
            return None;
        }
        Some(Account {
            name,
            uid: number(fields.get(2)?)?,
            gid: fields.get(3).and_then(|gid| number(gid)),
            home: fields.get(5).copied(),
        })
    })
}

/// Parses the text of group(5): returns the ids of the groups that have a user as a member.
pub fn groups_with_member<'a>(group: &'a [u8], user: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
    records(group).filter_map(move |fields| {
        let mut members = fields.get(3)?.split(|&byte| byte == b',');
        let is_member = members.any(|member| member == user);
        number(fields.get(2)?).filter(|_| is_member)
    })
}

/// The fields of each line.
fn records(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let lines = text.split(|&byte| byte == b'\n');
    lines.map(|line| line.split(|&byte| byte == b':').collect())
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_a_user_are_skipped() {
        let text = b"root:x:0:0:root:/root:/bin/bash\n\n# comment:x:7:7::/:\n+nis:x:8:8::/:\n\
            -nis:x:8:8::/:\nbroken\n:x:9:9::/:\nweb:x:33:33:www\nhuge:x:4294967296:1::/:\n\
            last:x:4294967294:none::/:/bin/false";
        let found: Vec<Account<'_>> = accounts(text).collect();
        let account = |name: &'static str, uid, gid, home: Option<&'static str>| Account {
            name: name.as_bytes(),
            uid,
            gid,
            home: home.map(str::as_bytes),
        };
        let expected = [
            account("root", 0, Some(0), Some("/root")),
            account("web", 33, Some(33), None),
            account("last", 4_294_967_294, None, Some("/")),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn groups_are_found_by_their_members() {
        let text = b"adm:x:4:ann,ben\nbroken:x\nsudo:x:27:ben\nno:x:none:ann\n";
        let of = |user: &'static str| groups_with_member(text, user.as_bytes()).collect::<Vec<_>>();
        assert_eq!(of("ben"), [4, 27]);
        assert_eq!(of("ann"), [4]);
        assert!(of("be").is_empty());
    }
}
