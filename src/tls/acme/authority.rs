//! The authority: our account there, and what it is asked.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, CertificateIdentifier, Error, ExternalAccountKey, NewAccount, RenewalInfo,
};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::info;

use crate::config::Acme;
use crate::tls::Certificate;
use crate::tls::acme::challenge::Board;
use crate::tls::acme::client::Client;
use crate::tls::acme::failure::{Failure, clean};
use crate::tls::acme::order::{Wish, order};
use crate::tls::acme::schedule::Window;
use crate::tls::acme::storage::{Kept, Storage, Unread};
use crate::tls::acme::tries::Tries;

/// Who issues certificates.
pub trait Issuer: Send + Sync + 'static {
    /// A certificate for a name. It takes minutes at most.
    fn issue(&self, wish: Wish) -> impl Future<Output = Result<Kept, Failure>> + Send;

    /// When a certificate had better be renewed; none where the authority has no
    /// say in it.
    fn advice(
        &self,
        certificate: Certificate,
    ) -> impl Future<Output = Result<Option<Advice>, Failure>> + Send;
}

/// What the authority says of a renewal (RFC 9773).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Advice {
    pub window: Window,
    /// Until it may be asked again.
    pub ask_in: Duration,
}

/// An ACME directory with our account.
pub struct Authority {
    settings: Acme,
    client: Client,
    storage: Arc<Storage>,
    board: Board,
    /// Opened by the first who needs it, while the others wait.
    account: Mutex<Option<Account>>,
}

impl Authority {
    /// Asks nothing yet.
    pub(super) fn new(settings: Acme, storage: Arc<Storage>, board: Board) -> Self {
        let client = Client::new(&settings.directory, settings.authorities.clone());
        Self { settings, client, storage, board, account: Mutex::default() }
    }

    async fn account(&self) -> Result<Account, Failure> {
        let mut account = self.account.lock().await;
        if let Some(account) = &*account {
            return Ok(account.clone());
        }
        let opened = self.open().await?;
        Ok(account.insert(opened).clone())
    }

    /// The account that is kept, else a new one.
    async fn open(&self) -> Result<Account, Failure> {
        let (storage, owner) = (Arc::clone(&self.storage), self.owner());
        let kept = spawn_blocking(move || storage.account(&owner))
            .await
            .map_err(|error| broken(&error))?
            .map_err(|Unread| {
                Failure::Ours("the account that is kept cannot be read".to_owned())
            })?;
        let builder = || Account::builder_with_http(Box::new(self.client.clone()));
        if let Some(kept) = kept {
            return Ok(builder().from_credentials(kept).await?);
        }
        let contact = self.settings.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let binding = self.settings.binding.as_ref();
        let binding = binding.map(|it| ExternalAccountKey::new(it.key_id.to_string(), &it.key));
        let directory = self.settings.directory.as_str();
        let mut tries = Tries::new();
        let (account, credentials) = loop {
            match builder().create(&wanted, directory.to_owned(), binding.as_ref()).await {
                Ok(made) => break made,
                Err(error) => tries.again_if_unread(error).await.map_err(of_account)?,
            }
        };
        info!(directory = %self.settings.directory, account = account.id(), "ACME account made");
        let text = serde_json::to_string(&credentials)
            .map_err(|error| Failure::Ours(clean(&error.to_string())))?;
        let (storage, owner) = (Arc::clone(&self.storage), self.owner());
        spawn_blocking(move || storage.keep_account(&owner, &text))
            .await
            .map_err(|error| broken(&error))?;
        Ok(account)
    }

    /// Forgets an account, unless another one has taken its place already.
    async fn forget(&self, lost: &Account) -> Result<(), Failure> {
        let mut account = self.account.lock().await;
        if account.as_ref().is_none_or(|it| it.id() != lost.id()) {
            return Ok(());
        }
        *account = None;
        let (storage, owner) = (Arc::clone(&self.storage), self.owner());
        spawn_blocking(move || storage.forget_account(&owner)).await.map_err(|error| broken(&error))
    }

    /// Whoever changes this is somebody else to the authority.
    fn owner(&self) -> String {
        let Acme { email, binding, .. } = &self.settings;
        let key_id = binding.as_ref().map_or("", |it| &it.key_id);
        format!("{}\n{key_id}", email.as_deref().unwrap_or(""))
    }
}

impl Issuer for Authority {
    async fn issue(&self, wish: Wish) -> Result<Kept, Failure> {
        let issuing = async {
            let account = self.account().await?;
            match order(&account, &self.board, &wish).await {
                // The authority has begun anew, or our account was closed.
                Err(failure) if failure.is_of_a_lost_account() => {
                    self.forget(&account).await?;
                    order(&self.account().await?, &self.board, &wish).await
                }
                issued => issued,
            }
        };
        let late = |_| Failure::Order { kind: None, words: format!("not within {ORDER_MAX:?}") };
        timeout(ORDER_MAX, issuing).await.map_err(late)?
    }

    async fn advice(&self, certificate: Certificate) -> Result<Option<Advice>, Failure> {
        let Some(id) = identifier(&certificate) else { return Ok(None) };
        let account = self.account().await?;
        match account.renewal_info(&id).await {
            Ok((RenewalInfo { suggested_window, .. }, ask_in)) => {
                let (start, end) = (suggested_window.start, suggested_window.end);
                let window = Window { start: start.into(), end: end.into() };
                Ok(Some(Advice { window, ask_in }))
            }
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What the authority calls a certificate (RFC 9773, section 4.1); none of one
/// that does not say who has issued it.
pub(super) fn identifier(certificate: &Certificate) -> Option<CertificateIdentifier<'static>> {
    let own = certificate.key.cert.first()?;
    CertificateIdentifier::try_from(own).ok().map(CertificateIdentifier::into_owned)
}

/// What is refused while an account is made is refused to every name.
fn of_account(failure: Failure) -> Failure {
    match failure {
        Failure::Order { kind, words } => Failure::Account { kind, words },
        failure @ (Failure::Unreachable(_)
        | Failure::Limited { .. }
        | Failure::Account { .. }
        | Failure::Challenge { .. }
        | Failure::Ours(_)) => failure,
    }
}

fn broken(error: &tokio::task::JoinError) -> Failure {
    Failure::Ours(clean(&error.to_string()))
}

/// For everything that belongs to one order, waits for the authority included.
const ORDER_MAX: Duration = Duration::from_secs(300);
