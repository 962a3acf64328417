//! One order, from a name to its certificate.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeHandle, ChallengeType,
    Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use crate::domain::names::{Host, HostPattern};
use crate::tls::acme::challenge::{Board, Kind, Up};
use crate::tls::acme::failure::{Failure, clean};
use crate::tls::acme::storage::Kept;
use crate::tls::acme::tries::{Tries, is_unread};
use crate::tls::pem;

/// What is ordered.
#[derive(Clone, Debug)]
pub struct Wish {
    pub name: Host,
    pub challenge: Kind,
    /// The certificate in whose place the new one comes (RFC 9773, section 5).
    pub replaces: Option<CertificateIdentifier<'static>>,
}

/// Gets a certificate with a key of its own. What is put up for the authority to
/// find is taken down again, however it ends.
pub(super) async fn order(account: &Account, board: &Board, wish: &Wish) -> Result<Kept, Failure> {
    let mut order = begin(account, wish).await?;
    let up = answer(&mut order, board, wish).await?;
    decide(&mut order).await?;
    drop(up);
    finish(order, &wish.name).await
}

async fn begin(account: &Account, wish: &Wish) -> Result<Order, Failure> {
    let names = [Identifier::Dns(wish.name.as_str().to_owned())];
    let plain = NewOrder::new(&names);
    let Some(replaced) = wish.replaces.clone() else {
        return place(account, &plain).await;
    };
    let replacing = NewOrder::new(&names).replaces(replaced);
    match place(account, &replacing).await {
        // That it replaces another is a courtesy; it is ordered all the same.
        Err(failure) if failure.is_of_the_replaced() => place(account, &plain).await,
        placed => placed,
    }
}

/// Places an order, which is not done twice where it may have been done once.
async fn place(account: &Account, wanted: &NewOrder<'_>) -> Result<Order, Failure> {
    let mut tries = Tries::new();
    loop {
        match account.new_order(wanted).await {
            Ok(order) => return Ok(order),
            Err(error) => tries.again_if_unread(error).await?,
        }
    }
}

/// Answers the challenge of each name and has the authority look.
async fn answer(order: &mut Order, board: &Board, wish: &Wish) -> Result<Vec<Up>, Failure> {
    read(order).await?;
    let kind = wish.challenge;
    let refused = |words: String| Failure::Order { kind: None, words };
    let mut up = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Pending => {}
            // It remembers that the name is ours.
            AuthorizationStatus::Valid => continue,
            status @ (AuthorizationStatus::Invalid
            | AuthorizationStatus::Revoked
            | AuthorizationStatus::Expired
            | AuthorizationStatus::Deactivated) => {
                return Err(refused(format!("the authorization is {status:?}")));
            }
        }
        let mut challenge = authorization
            .challenge(kind.wanted())
            .ok_or_else(|| refused(format!("it offers no {kind} for this name")))?;
        let key = challenge.key_authorization();
        up.push(board.put_up(kind, &wish.name, &challenge.token, &key)?);
        look(&mut challenge).await?;
    }
    Ok(up)
}

/// Has the authority look. Where the answer was lost, it may not want to hear it
/// again; the order tells then what it has found.
async fn look(challenge: &mut ChallengeHandle<'_>) -> Result<(), Failure> {
    let mut tries = Tries::new();
    let mut is_told = false;
    while let Err(error) = challenge.set_ready().await {
        let may_have_been_read = !is_unread(&error);
        match tries.again(error).await {
            Ok(()) => is_told |= may_have_been_read,
            Err(Failure::Order { .. }) if is_told => break,
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// Has every authorization of the order read.
async fn read(order: &mut Order) -> Result<(), Failure> {
    let mut tries = Tries::new();
    'all: loop {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            if let Err(error) = authorization {
                tries.again(error).await?;
                // Those that have been read are not asked for again.
                continue 'all;
            }
        }
        return Ok(());
    }
}

/// Waits until the authority has looked, and has found that the name is ours.
async fn decide(order: &mut Order) -> Result<(), Failure> {
    let mut tries = Tries::new();
    loop {
        let failure = match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready) => return Ok(()),
            Ok(_) => undecided(),
            Err(error) => match tries.again(error).await {
                Ok(()) => continue,
                Err(failure) => failure,
            },
        };
        // An order tells that it failed, its authorization why.
        return Err(why(order).await.unwrap_or(failure));
    }
}

/// What the authority found instead of what was up.
async fn why(order: &mut Order) -> Option<Failure> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        // What was said before is better than nothing.
        let _ = authorization.refresh().await;
        for challenge in &authorization.challenges {
            let kind = match challenge.r#type {
                ChallengeType::Http01 => Kind::Http01,
                ChallengeType::TlsAlpn01 => Kind::TlsAlpn01,
                ChallengeType::Dns01
                | ChallengeType::DeviceAttest01
                | ChallengeType::Unknown(_)
                | _ => continue,
            };
            if let Some(said) = &challenge.error {
                return Some(Failure::of_challenge(kind, said));
            }
        }
    }
    None
}

fn undecided() -> Failure {
    Failure::Order { kind: None, words: "it does not say why".to_owned() }
}

async fn finish(mut order: Order, name: &Host) -> Result<Kept, Failure> {
    let ours = |error: rcgen::Error| Failure::Ours(format!("cannot make a key: {error}"));
    let key = KeyPair::generate().map_err(ours)?;
    let mut params = CertificateParams::new([name.as_str().to_owned()]).map_err(ours)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(ours)?;
    finalize(&mut order, request.der()).await?;
    let chain = fetch(&mut order).await?;
    let text = format!("{}{chain}", key.serialize_pem());
    let unusable = |why: String| Failure::Order {
        kind: None,
        words: clean(&format!("it issued what cannot be used: {why}")),
    };
    let certificate = pem::certificate(text.as_bytes(), text.as_bytes())
        .map_err(|fault| unusable(fault.to_string()))?;
    if !certificate.names.contains(&HostPattern::Exact(name.clone())) {
        return Err(unusable("it is for another name".to_owned()));
    }
    Ok(Kept { certificate, text: text.into() })
}

/// Hands in the request for a certificate. Where the answer was lost, the order
/// knows whether it has come.
async fn finalize(order: &mut Order, request: &[u8]) -> Result<(), Failure> {
    let mut tries = Tries::new();
    loop {
        let Err(error) = order.finalize_csr(request).await else { return Ok(()) };
        tries.again(error).await?;
        loop {
            match order.refresh().await {
                Ok(state) if state.status == OrderStatus::Ready => break,
                Ok(_) => return Ok(()),
                Err(error) => tries.again(error).await?,
            }
        }
    }
}

async fn fetch(order: &mut Order) -> Result<String, Failure> {
    let mut tries = Tries::new();
    loop {
        match order.poll_certificate(&PATIENCE).await {
            Ok(chain) => return Ok(chain),
            Err(error) => tries.again(error).await?,
        }
    }
}

/// Authorities look within seconds, a few times, from several places.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));
