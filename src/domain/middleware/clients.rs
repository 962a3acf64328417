//! Which clients may pass.

use std::net::IpAddr;

use ipnet::IpNet;

/// `allow` and `deny`. No network is IPv4-mapped.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Clients {
    /// Anyone, if empty.
    pub allow: Vec<IpNet>,
    pub deny: Vec<IpNet>,
}

impl Clients {
    /// Who is denied may not pass, even if allowed elsewhere.
    pub fn admit(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let among = |networks: &[IpNet]| networks.iter().any(|it| it.contains(&client));
        !among(&self.deny) && (self.allow.is_empty() || among(&self.allow))
    }

    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_denied_stays_out_and_so_does_who_is_not_allowed() {
        for (allow, deny, client, admitted) in [
            ("", "", "192.0.2.1", true),
            ("10.0.0.0/8", "", "10.0.0.1", true),
            ("10.0.0.0/8", "", "192.0.2.1", false),
            ("10.0.0.0/8", "", "::1", false),
            ("", "10.0.0.0/8", "10.0.0.1", false),
            ("", "10.0.0.0/8", "192.0.2.1", true),
            ("10.0.0.0/8", "10.0.0.1/32", "10.0.0.1", false),
            ("10.0.0.0/8", "10.0.0.1/32", "10.0.0.2", true),
            ("10.0.0.1/32", "10.0.0.0/8", "10.0.0.1", false),
            ("10.0.0.0/8", "", "::ffff:10.0.0.1", true),
            ("", "10.0.0.0/8", "::ffff:10.0.0.1", false),
            ("::/0", "", "10.0.0.1", false),
            ("::/0", "", "2001:db8::1", true),
        ] {
            let list = |text: &str| text.parse().into_iter().collect();
            let clients = Clients { allow: list(allow), deny: list(deny) };
            let client = client.parse().unwrap();
            assert_eq!(clients.admit(client), admitted, "{client}: {allow} but {deny}");
        }
    }
}
