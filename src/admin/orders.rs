//! Orders of operators: draining single replicas.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::admin::{Admin, status, view};
use crate::control::{Refusal, Wish};
use crate::domain::world::WorkloadId;

type Body = Result<Json<view::Order>, JsonRejection>;

pub(super) async fn drain(State(admin): State<Admin>, body: Body) -> Response {
    order(admin, Wish::Drain, body).await
}

pub(super) async fn undrain(State(admin): State<Admin>, body: Body) -> Response {
    order(admin, Wish::Undrain, body).await
}

async fn order(mut admin: Admin, wish: Wish, body: Body) -> Response {
    let names = match body {
        Ok(Json(order)) => order.replicas,
        Err(rejection) => return refused(rejection.status(), rejection.body_text(), EXAMPLE),
    };
    if names.is_empty() || names.len() > NAMES_MAX {
        let message = format!("`replicas` names {}, not 1 to {NAMES_MAX}", names.len());
        return refused(StatusCode::UNPROCESSABLE_ENTITY, message, EXAMPLE);
    }
    match admin.operator.order(wish, names).await {
        Ok(chosen) => Json(ordered(&mut admin, &chosen)).into_response(),
        Err(refusal) => {
            let status = match refusal {
                Refusal::Unknown { .. } => StatusCode::NOT_FOUND,
                Refusal::Ambiguous { .. } => StatusCode::CONFLICT,
                Refusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            };
            refused(status, refusal.to_string(), refusal.hint())
        }
    }
}

/// The chosen as they are now, once for each pool that they are in.
fn ordered(admin: &mut Admin, chosen: &BTreeSet<WorkloadId>) -> view::Ordered {
    let ids: BTreeSet<&str> = chosen.iter().map(|workload| &*workload.id).collect();
    let plan = Arc::clone(&admin.overview.borrow().plan);
    let pools = status::pools(&plan, admin.table.current().pools());
    let replicas = pools.into_iter().flat_map(|pool| {
        let replicas = pool.replicas.into_iter().filter(|it| ids.contains(&*it.id));
        replicas.map(move |it| view::OrderedReplica {
            pool: pool.label.clone(),
            name: it.name,
            id: it.id,
            address: it.address,
            state: it.state,
            in_flight: it.in_flight,
        })
    });
    view::Ordered { replicas: replicas.collect() }
}

fn refused(status: StatusCode, message: String, hint: &str) -> Response {
    (status, Json(view::Refused { message, hint: hint.to_owned() })).into_response()
}

const EXAMPLE: &str =
    "send `{\"replicas\": [\"shop-web-1\"]}` with `Content-Type: application/json`";

/// More at once is a mistake rather than an order.
const NAMES_MAX: usize = 256;
