//! One order, from a name to its certificate.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Identifier, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use crate::domain::names::{Host, HostPattern};
use crate::tls::acme::challenge::{Board, Kind, Up};
use crate::tls::acme::failure::{Failure, clean};
use crate::tls::acme::storage::Kept;
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
    let decided = order.poll_ready(&PATIENCE).await;
    drop(up);
    match decided {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(why(&mut order).await.unwrap_or_else(undecided)),
        // An order tells that it failed, its authorization why.
        Err(error) => return Err(why(&mut order).await.unwrap_or_else(|| error.into())),
    }
    finish(order, &wish.name).await
}

async fn begin(account: &Account, wish: &Wish) -> Result<Order, Failure> {
    let names = [Identifier::Dns(wish.name.as_str().to_owned())];
    let plain = NewOrder::new(&names);
    let Some(replaced) = wish.replaces.clone() else {
        return Ok(account.new_order(&plain).await?);
    };
    let replacing = NewOrder::new(&names).replaces(replaced);
    match account.new_order(&replacing).await.map_err(Failure::from) {
        Ok(order) => Ok(order),
        // That it replaces another is a courtesy; it is ordered all the same.
        Err(failure) if failure.is_of_the_replaced() => Ok(account.new_order(&plain).await?),
        Err(failure) => Err(failure),
    }
}

/// Answers the challenge of each name and has the authority look.
async fn answer(order: &mut Order, board: &Board, wish: &Wish) -> Result<Vec<Up>, Failure> {
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
        challenge.set_ready().await?;
    }
    Ok(up)
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
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
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

/// Authorities look within seconds, a few times, from several places.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));
