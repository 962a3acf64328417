//! What operators order: that single replicas drain, or serve again.

mod choice;

use std::collections::BTreeSet;

use tokio::sync::{mpsc, oneshot};

use crate::domain::world::WorkloadId;

pub(super) use choice::choose;

/// Hands orders to the control loop.
#[derive(Clone, Debug)]
pub struct Operator(mpsc::Sender<Order>);

/// What is to become of replicas.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wish {
    /// They finish what they have and get nothing new while another is ready;
    /// for as long as their container lives on.
    Drain,
    Undrain,
}

/// Why an order cannot be followed. Nothing of it has been done then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("no replica is named `{name}`")]
    Unknown { name: String, hint: String },
    #[error("the ids of several containers begin with `{prefix}`")]
    Ambiguous { prefix: String, hint: String },
    #[error("the balancer is stopping")]
    Stopping,
}

/// One order, and where its answer goes.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) wish: Wish,
    pub(super) names: Vec<String>,
    pub(super) reply: oneshot::Sender<Result<BTreeSet<WorkloadId>, Refusal>>,
}

impl Operator {
    pub(super) fn channel() -> (Self, mpsc::Receiver<Order>) {
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        (Self(orders), received)
    }

    /// Has the replicas of these names or container ids drain or serve again,
    /// all or none. Who they are, once it is in force.
    pub async fn order(
        &self,
        wish: Wish,
        names: Vec<String>,
    ) -> Result<BTreeSet<WorkloadId>, Refusal> {
        let (reply, answer) = oneshot::channel();
        let order = Order { wish, names, reply };
        self.0.send(order).await.map_err(|_| Refusal::Stopping)?;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }
}

impl Refusal {
    /// What to do; empty if there is nothing to add.
    pub fn hint(&self) -> &str {
        match self {
            Self::Unknown { hint, .. } | Self::Ambiguous { hint, .. } => hint,
            Self::Stopping => "",
        }
    }
}

/// People give orders, one at a time; a script that gives more waits.
const ORDERS_MAX: usize = 16;
