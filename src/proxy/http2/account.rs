//! What a connection holds of its answers that has not been sent.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::time::Instant;

/// The bytes that wait for the client of one connection, in all its streams.
#[derive(Debug)]
pub(super) struct Account {
    limit: usize,
    held: Cell<usize>,
    /// When some of it was last sent, or it began to be held.
    moved_at: Cell<Instant>,
    waits: RefCell<Vec<Waker>>,
}

/// A part of an answer, on the account of its connection until it is sent or
/// given up.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    account: Rc<Account>,
}

impl Account {
    pub(super) fn new(limit: usize) -> Rc<Self> {
        let moved_at = Cell::new(Instant::now());
        Rc::new(Self { limit, held: Cell::new(0), moved_at, waits: RefCell::default() })
    }

    pub(super) fn piece(self: &Rc<Self>, bytes: Bytes) -> Piece {
        if self.held.get() == 0 {
            self.moved_at.set(Instant::now());
        }
        self.held.set(self.held.get() + bytes.len());
        Piece { bytes, account: Rc::clone(self) }
    }

    /// Whether anything is held.
    pub(super) fn is_held(&self) -> bool {
        self.held.get() > 0
    }

    /// When the client last took something, or was first given something to take.
    pub(super) fn moved_at(&self) -> Instant {
        self.moved_at.get()
    }

    /// How much more may be held, once it is anything.
    pub(super) fn poll_room(&self, context: &Context<'_>) -> Poll<usize> {
        match self.limit.saturating_sub(self.held.get()) {
            0 => {
                let mut waits = self.waits.borrow_mut();
                if !waits.iter().any(|waker| waker.will_wake(context.waker())) {
                    waits.push(context.waker().clone());
                }
                Poll::Pending
            }
            room => Poll::Ready(room),
        }
    }

    fn sent(&self, bytes: usize) {
        if bytes > 0 {
            self.moved_at.set(Instant::now());
        }
        self.held.set(self.held.get().saturating_sub(bytes));
        if self.held.get() < self.limit {
            for waker in self.waits.take() {
                waker.wake();
            }
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.account.sent(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.account.sent(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker;

    #[test]
    fn a_connection_holds_so_much_and_no_more_until_some_of_it_is_sent() {
        let waker = noop_waker();
        let context = Context::from_waker(&waker);
        let account = Account::new(10);
        let mut first = account.piece(Bytes::from_static(b"1234567"));
        assert_eq!(account.poll_room(&context), Poll::Ready(3));
        let second = account.piece(Bytes::from_static(b"890"));
        assert_eq!(account.poll_room(&context), Poll::Pending);
        assert_eq!(account.waits.borrow().len(), 1);
        assert_eq!(account.poll_room(&context), Poll::Pending);
        assert_eq!(account.waits.borrow().len(), 1, "one that asks twice waits once");
        first.advance(2);
        assert_eq!((first.chunk(), account.waits.borrow().len()), (&b"34567"[..], 0));
        assert_eq!(account.poll_room(&context), Poll::Ready(2));
        drop(first);
        assert_eq!(account.poll_room(&context), Poll::Ready(7), "what is given up counts no more");
        drop(second);
        assert_eq!(account.poll_room(&context), Poll::Ready(10));
    }
}
