//! Whether a request may be sent again after an attempt has failed, and where.

mod budget;

pub use budget::Budget;

use crate::domain::lifecycle::State;

/// How an attempt failed, as far as it matters for another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// No connection could be made, or the endpoint left before there was one.
    NoConnection,
    /// The endpoint was reached, and did not prove who it is.
    Untrusted,
    /// The connection ended before the kernel took a byte of the request.
    Unsent,
    /// The replica says that it has not looked at the request (RFC 9113, section
    /// 8.7).
    Refused,
    /// The replica says that it has not served the request since it wants another
    /// version of HTTP for it (RFC 9113, section 7).
    OtherVersion,
    /// The connection ended before a byte of the answer came.
    Unanswered,
    /// The replica has ended the request before a byte of the answer came, and not
    /// the connection: it is no matter of age.
    Reset,
    /// The endpoint is gone or paused, and no byte of an answer has come.
    Left,
    /// The answer had begun.
    AnswerBroken,
    /// The endpoint is there and silent, or the client broke off.
    Other,
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failed {
    pub cause: Cause,
    /// The connection had carried a request before.
    pub reused: bool,
    /// Sending the request twice does no more than sending it once (RFC 9110,
    /// section 9.2.2).
    pub idempotent: bool,
    /// Every byte of its body that was taken from the client is still there.
    pub whole: bool,
}

/// What may follow a failed attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Again {
    /// Nothing: the replica may have acted on the request.
    Never,
    /// The same endpoint on a fresh connection: it may merely have ended an idle
    /// one, or wants one of another kind.
    Fresh,
    /// Another endpoint, at no charge: nothing of the request was taken.
    Another,
    /// Another endpoint at no charge, and the same one if there is none: it is as
    /// good as before.
    Any,
    /// Another endpoint at no charge, if one is ready: this one will most likely
    /// fail again, for which nobody is made to wait.
    Elsewhere,
    /// Another endpoint. It counts against the retry budget, unless the endpoint
    /// that failed is leaving.
    Charged,
}

impl Failed {
    /// What may follow. Nginx, HAProxy and Envoy each know a part of these
    /// rules; RFC 9110, section 9.2.2, is the reason for all of them.
    pub fn again(self) -> Again {
        let repeatable = self.idempotent && self.whole;
        match self.cause {
            Cause::NoConnection
            | Cause::Untrusted
            | Cause::Unsent
            | Cause::Refused
            | Cause::OtherVersion
                if !self.whole =>
            {
                Again::Never
            }
            Cause::Untrusted => Again::Elsewhere,
            Cause::Refused => Again::Any,
            Cause::OtherVersion => Again::Fresh,
            Cause::NoConnection => Again::Another,
            Cause::Unsent if self.reused => Again::Fresh,
            Cause::Unsent => Again::Another,
            Cause::Unanswered if repeatable && self.reused => Again::Fresh,
            Cause::Unanswered | Cause::Reset if repeatable => Again::Charged,
            Cause::Left if repeatable => Again::Another,
            Cause::Unanswered | Cause::Reset | Cause::Left | Cause::AnswerBroken | Cause::Other => {
                Again::Never
            }
        }
    }
}

/// Whether an attempt without an answer yet makes no sense any more at an
/// endpoint in this state.
///
/// A paused one may go on, so only a request that can be answered elsewhere
/// leaves it.
pub fn is_hopeless(state: State, repeatable: bool) -> bool {
    match state {
        State::Gone => true,
        State::Paused => repeatable,
        State::Starting
        | State::Ready
        | State::Unhealthy
        | State::Suspect
        | State::Ejected
        | State::Draining => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_may_follow_a_failure_is_by_the_table() {
        use Again::{Another, Any, Charged, Elsewhere, Fresh, Never};
        use Cause::{
            AnswerBroken, Left, NoConnection, Other, OtherVersion, Refused, Reset, Unanswered,
            Unsent, Untrusted,
        };
        // The cause, and what follows for: GET fresh, GET reused, POST fresh, POST reused.
        let table = [
            (NoConnection, [Another, Another, Another, Another]),
            (Untrusted, [Elsewhere, Elsewhere, Elsewhere, Elsewhere]),
            (Unsent, [Another, Fresh, Another, Fresh]),
            (Refused, [Any, Any, Any, Any]),
            (OtherVersion, [Fresh, Fresh, Fresh, Fresh]),
            (Unanswered, [Charged, Fresh, Never, Never]),
            (Reset, [Charged, Charged, Never, Never]),
            (Left, [Another, Another, Never, Never]),
            (AnswerBroken, [Never, Never, Never, Never]),
            (Other, [Never, Never, Never, Never]),
        ];
        for (cause, expected) in table {
            let cases = [(true, false), (true, true), (false, false), (false, true)];
            let again = cases.map(|(idempotent, reused)| {
                Failed { cause, reused, idempotent, whole: true }.again()
            });
            assert_eq!(again, expected, "{cause:?}");
        }
    }

    proptest! {
        #[test]
        fn a_body_that_is_not_whole_is_never_sent_again(
            cause in any_cause(), reused: bool, idempotent: bool,
        ) {
            let failed = Failed { cause, reused, idempotent, whole: false };
            prop_assert_eq!(failed.again(), Again::Never);
        }

        #[test]
        fn what_a_replica_may_have_acted_on_is_sent_again_only_if_that_does_no_harm(
            cause in any_cause(), reused: bool,
        ) {
            let failed = Failed { cause, reused, idempotent: false, whole: true };
            let untouched = matches!(
                cause,
                Cause::NoConnection
                    | Cause::Untrusted
                    | Cause::Unsent
                    | Cause::Refused
                    | Cause::OtherVersion
            );
            prop_assert_eq!(failed.again() != Again::Never, untouched);
        }
    }

    #[test]
    fn a_paused_replica_keeps_what_cannot_be_answered_elsewhere() {
        for state in State::ALL {
            assert_eq!(is_hopeless(state, true), matches!(state, State::Gone | State::Paused));
            assert_eq!(is_hopeless(state, false), state == State::Gone);
        }
    }

    fn any_cause() -> impl Strategy<Value = Cause> {
        use Cause::{
            AnswerBroken, Left, NoConnection, Other, OtherVersion, Refused, Reset, Unanswered,
            Unsent, Untrusted,
        };
        let causes = [
            NoConnection,
            Untrusted,
            Unsent,
            Refused,
            OtherVersion,
            Unanswered,
            Reset,
            Left,
            AnswerBroken,
            Other,
        ];
        proptest::sample::select(causes.to_vec())
    }
}
