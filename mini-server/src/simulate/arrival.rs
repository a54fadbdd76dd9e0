//! How a fleet is let in: a list for an import, or the management API; and into which groups its devices go.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::Value;

use super::device::Device;
use super::keys::Keys;
use super::options::{Fleet, Options};
use super::world::World;
use crate::admin::client::{Client, Target, escape};
use crate::admin::devices::announce_all;
use crate::durable::{Readers, replace};

/// Devices that are announced at once, and put into a group at once: so many fit into a request.
const AT_ONCE: usize = 1000;

/// Writes a list of the fleet for `device import`.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write_list(fleet: &Fleet, file: &Path) -> Result<()> {
    let keys = Keys::new(&fleet.name, &fleet.seed);
    let mut list = String::from("mac,simulated,pubkey\n");
    for number in 0..fleet.devices {
        let papers = keys.papers(number).context("cannot make a key")?;
        let (mac, simulated) = (papers.part("mac"), papers.part("simulated"));
        list.push_str(&format!("{mac},{simulated},{}\n", papers.public_key()));
    }
    replace(file, list.as_bytes(), Readers::Everybody)
        .with_context(|| format!("cannot write {}", file.display()))
}

/// A client of the management API, if there is a token.
pub(super) async fn operator(options: &Options) -> Result<Option<Client>> {
    let Some(token) = &options.token else {
        return Ok(None);
    };
    let target = Target::Https {
        url: options.url.clone(),
        token: token.clone(),
        authority: options.authority.clone(),
    };
    Ok(Some(Client::open(target).await?))
}

/// Announces the fleet: its devices are let in when they come. Those that are there already do no harm.
pub(super) async fn announce(world: &World, client: &mut Client) -> Result<()> {
    let numbers: Vec<u32> = (0..world.options.fleet.devices).collect();
    for some in numbers.chunks(AT_ONCE) {
        let papers = some.iter().map(|number| {
            let papers = world.keys.papers(*number).context("cannot make a key")?;
            Ok(papers.announcement())
        });
        let papers = papers.collect::<Result<Vec<_>>>()?;
        announce_all(client, &papers).await?;
    }
    Ok(())
}

/// Puts the devices that are in into their groups.
pub(super) async fn group(
    world: &World,
    client: &mut Client,
    devices: impl Iterator<Item = &Device>,
) -> Result<()> {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for device in devices {
        let id = device.token.as_deref().and_then(identifier);
        if let (Some(group), Some(id)) = (world.group(device.number), id) {
            groups.entry(group).or_default().push(id);
        }
    }
    for (name, ids) in groups {
        let path = format!(
            "/api/management/v1/inventory/groups/{}/devices",
            escape(name)
        );
        for some in ids.chunks(AT_ONCE) {
            client
                .send_json(Method::PATCH, &path, &some)
                .await
                .with_context(|| format!("cannot put devices into group {name:?}"))?;
        }
    }
    Ok(())
}

/// The identifier that the server has given to the bearer of a token.
fn identifier(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("sub")?.as_str()?.to_owned())
}
