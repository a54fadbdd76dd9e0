//! What the programs beside which the agent is measured and tried need: keys, artifacts in their
//! formats, and a root file system to run from. Nothing here runs anything but what `run` runs.

mod keys;
mod mender;
mod rauc;
mod root;
mod swupdate;

pub use keys::Keys;
pub use mender::configuration as mender_configuration;
pub use rauc::{bundle as rauc_bundle, manifest as rauc_manifest};
pub use root::{attach, furnish, plant};
pub use swupdate::{Payload as SwupdatePayload, pack as swupdate_pack, sign as swupdate_sign};
