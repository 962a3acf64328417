//! Error pages of pools that do not give them to everybody.

use crate::domain::middleware::{Middleware, Page};
use crate::domain::names::PoolName;
use crate::domain::plan::{Plan, PoolPlan};
use crate::domain::pool::PoolSettings;
use crate::domain::problem::{Problem, Subject};
use crate::domain::rule::Access;
use crate::domain::tls::ClientAuth;

impl PoolPlan {
    /// Whether anybody may ask it: it is open, and nothing says who may pass.
    pub fn is_unguarded(&self) -> bool {
        let Access::Open(rule) = &self.access else { return false };
        let PoolSettings { middlewares, client_auth, .. } = &self.settings;
        rule.conditions.is_none()
            && *client_auth != ClientAuth::Required
            && !middlewares.iter().any(Middleware::is_guard)
    }
}

/// One problem for each pool whose page cannot be given, since whoever fails
/// there would get past the guards of the page's pool.
pub(super) fn guarded_pages(plan: &Plan, prefix: &str) -> Vec<Problem> {
    let pools = plan.pools.iter();
    pools.filter_map(|(name, pool)| problem(plan, name, pool, prefix)).collect()
}

fn problem(plan: &Plan, name: &PoolName, pool: &PoolPlan, prefix: &str) -> Option<Problem> {
    let source = pool.settings.middlewares.iter().find_map(|it| {
        let Middleware::ErrorPage(page) = it else { return None };
        match &page.page {
            Page::Pool { pool, .. } => Some(pool),
            Page::File(_) => None,
        }
    })?;
    let named =
        |project: Option<&str>| plan.pools.get_key_value(&PoolName::new(project, source).ok()?);
    let (source, pages) = named(name.project.as_deref()).or_else(|| named(None))?;
    let message = format!(
        "its error page is that of pool `{source}`, which is guarded, so that the built-in one is given"
    );
    let hint = format!(
        "serve the pages by a pool without guards and conditions, or write `{prefix}.error_page=file:PATH`"
    );
    let problem = || Problem::new(Subject::Pool(name.to_string().into()), message, hint);
    (!pages.is_unguarded()).then(problem)
}
