//! Answers to "why is it not routed?".

mod container;
mod middlewares;
mod request;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::admin::view::explain::{Meant, Question, Step};
use crate::admin::{Admin, view};

/// What becomes of a request.
pub(super) async fn request(
    State(mut admin): State<Admin>,
    body: Result<Json<Question>, JsonRejection>,
) -> Response {
    let question = match body {
        Ok(Json(question)) => question,
        Err(rejection) => {
            let hint = "post JSON such as `{\"url\": \"http://shop.example/\"}`";
            return refused(rejection.status(), rejection.body_text(), hint);
        }
    };
    let overview = Arc::clone(&admin.overview.borrow());
    let table = Arc::clone(admin.table.current());
    let found =
        aside(move || request::explained(&question, &table, &overview.plan, &admin.edge)).await;
    match found {
        Ok(explained) => Json(explained).into_response(),
        Err(fault) => refused(StatusCode::UNPROCESSABLE_ENTITY, fault.message, &fault.hint),
    }
}

/// Why a container gets requests, or none.
pub(super) async fn container(
    State(mut admin): State<Admin>,
    body: Result<Json<Meant>, JsonRejection>,
) -> Response {
    let name = match body {
        Ok(Json(meant)) => meant.name,
        Err(rejection) => {
            let hint = "post JSON such as `{\"name\": \"shop-web-1\"}`";
            return refused(rejection.status(), rejection.body_text(), hint);
        }
    };
    let overview = Arc::clone(&admin.overview.borrow());
    let table = Arc::clone(admin.table.current());
    let found = aside(move || container::explained(&name, &overview, &table, &admin.edge)).await;
    match found {
        Ok(explained) => Json(explained).into_response(),
        Err(fault) => refused(StatusCode::NOT_FOUND, fault.message, &fault.hint),
    }
}

/// On a thread of its own: with many rules it takes its time, and the runtime that
/// hears of containers must not wait.
async fn aside<T: Send + 'static>(
    explain: impl FnOnce() -> Result<T, Unanswerable> + Send + 'static,
) -> Result<T, Unanswerable> {
    tokio::task::spawn_blocking(explain).await.unwrap_or_else(|error| {
        Err(Unanswerable { message: format!("no answer was found: {error}"), hint: String::new() })
    })
}

/// What is asked cannot be answered.
#[derive(Debug)]
struct Unanswerable {
    message: String,
    hint: String,
}

fn refused(status: StatusCode, message: String, hint: &str) -> Response {
    let hint = hint.to_owned();
    (status, Json(view::Refused { message, hint })).into_response()
}

/// How a step may end.
#[derive(Clone, Copy)]
enum Outcome {
    Passed,
    Stopped,
    Noted,
}

fn step(
    outcome: Outcome,
    what: impl Into<String>,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Step {
    let outcome = match outcome {
        Outcome::Passed => "passed",
        Outcome::Stopped => "stopped",
        Outcome::Noted => "noted",
    };
    Step {
        outcome: outcome.to_owned(),
        what: what.into(),
        message: message.into(),
        hint: hint.into(),
    }
}
