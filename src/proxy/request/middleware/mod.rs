//! A pool's middlewares, run over one request and its answer.

mod compress;
mod error_page;
mod forward_auth;
mod guards;

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};

use crate::domain::middleware::{HeaderEdits, Middleware};
use crate::domain::names::PoolName;
use crate::domain::pool::Pool;
use crate::proxy::error::ProxyError;
use crate::proxy::request::body::ResponseBody;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::prepare::Prepared;
use crate::proxy::resources::Resources;

/// How far a request has come with the middlewares of its pool.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// Whose they are, and which. None while no pool with any has taken it.
    of: Option<(PoolName, Arc<[Middleware]>)>,
    /// Fields that they give to the request, in place of its client's.
    granted: HeaderEdits,
}

/// What the middlewares make of a request.
#[derive(Debug)]
pub(super) enum Verdict {
    Pass,
    Answer(Reply),
}

/// An answer of our own that is no failure: a redirect, a preflight.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The name in the access log.
    pub(super) reason: &'static str,
}

impl Admission {
    /// The request is about to be served by `pool`. Whether its middlewares have
    /// yet to see it: they have not if the request went to another pool before,
    /// or if they have changed while it was held.
    pub(super) fn enter(&mut self, pool: &Pool) -> bool {
        let asked = &pool.settings.middlewares;
        if asked.is_empty() {
            if self.of.is_some() {
                *self = Self::default();
            }
            return false;
        }
        let same = |(name, known): &(PoolName, Arc<[Middleware]>)| {
            *name == pool.name && (Arc::ptr_eq(known, asked) || known == asked)
        };
        if self.of.as_ref().is_some_and(same) {
            return false;
        }
        *self = Self { of: Some((pool.name.clone(), Arc::clone(asked))), ..Self::default() };
        true
    }

    /// Runs the middlewares of the pool that was entered, on the way in.
    pub(super) async fn admit(
        &mut self,
        resources: &Rc<Resources>,
        prepared: &Prepared,
        exchange: &mut Exchange,
    ) -> Result<Verdict, ProxyError> {
        let Some((pool, middlewares)) = &self.of else { return Ok(Verdict::Pass) };
        // Of another pool, which the request has left.
        prepared.upload().set_limit(None);
        for middleware in &**middlewares {
            match middleware {
                Middleware::Rate(limit) => {
                    guards::rate(limit, pool, resources, prepared, exchange)?;
                }
                Middleware::BasicAuth(users) => {
                    guards::basic(users, pool, resources, prepared, exchange).await?;
                }
                Middleware::ForwardAuth(auth) => {
                    let granted = &mut self.granted;
                    if let Some(reply) =
                        forward_auth::admit(auth, resources, prepared, granted).await?
                    {
                        return Ok(Verdict::Answer(reply));
                    }
                }
                Middleware::BodyLimit(limit) => guards::body_limit(*limit, prepared, exchange)?,
                Middleware::Compress(_)
                | Middleware::RequestHeaders(_)
                | Middleware::ErrorPage(_)
                | Middleware::ResponseHeaders(_) => {}
            }
        }
        Ok(Verdict::Pass)
    }

    /// Gives the copy of a request that goes to a replica what the middlewares
    /// want it to have.
    pub(super) fn equip<B>(&self, request: &mut Request<B>) {
        if self.is_empty() {
            return;
        }
        let headers = request.headers_mut();
        self.granted.apply(headers);
        for middleware in self.middlewares() {
            match middleware {
                Middleware::RequestHeaders(edits) => edits.apply(headers),
                Middleware::Compress(_)
                | Middleware::Rate(_)
                | Middleware::BasicAuth(_)
                | Middleware::ForwardAuth(_)
                | Middleware::BodyLimit(_)
                | Middleware::ErrorPage(_)
                | Middleware::ResponseHeaders(_) => {}
            }
        }
    }

    /// Runs the middlewares on the way out: over a replica's answer, and over
    /// one of our own that stands for it.
    pub(super) async fn finish(
        &self,
        resources: &Rc<Resources>,
        prepared: &Prepared,
        mut response: Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        let Some((pool, middlewares)) = &self.of else { return response };
        for middleware in middlewares.iter().rev() {
            match middleware {
                Middleware::Compress(settings) => compress::over(settings, prepared, &mut response),
                Middleware::ResponseHeaders(edits) => edits.apply(response.headers_mut()),
                Middleware::ErrorPage(page) => {
                    response = error_page::replace(page, pool, resources, prepared, response).await;
                }
                Middleware::Rate(_)
                | Middleware::BasicAuth(_)
                | Middleware::ForwardAuth(_)
                | Middleware::BodyLimit(_)
                | Middleware::RequestHeaders(_) => {}
            }
        }
        response
    }

    /// Whether there is nothing to run.
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_none()
    }

    fn middlewares(&self) -> &[Middleware] {
        self.of.as_ref().map_or(&[], |(_, middlewares)| middlewares)
    }
}
