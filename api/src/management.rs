//! The management API: what operators and their tools send to the server and what they get.

mod artifacts;
mod audit;
mod deployments;
mod devices;
mod inventory;
mod log_level;
mod role;
mod rollout;
mod users;
mod webhooks;

pub use artifacts::{
    Artifact, ArtifactFile, ArtifactFormat, ArtifactLink, ArtifactUpdate, LegacyMetaData, Release,
    ReleaseV1, TypeInfo,
};
pub use audit::{AuditActor, AuditEntry, AuditObject};
pub use deployments::{
    Deployment, DeploymentFilter, DeploymentState, DeviceDeployment, DeviceHistory, NewDeployment,
    Statistics, StatisticsOf,
};
pub use devices::{
    AuthSet, AuthSetStatus, Count, Device, DeviceStatus, ImportProblem, Imported, NewAuthSetStatus,
    Preauthorized,
};
pub use inventory::{
    Filter, FilterAttribute, GroupOf, InventoryDevice, Search, SelectAttribute, Sort, Updated,
};
pub use log_level::LogLevel;
pub use role::{NotARole, Role};
pub use rollout::{
    MaintenanceWindow, NewFilter, NewPhase, NewRollout, NewStandingOrder, Phase, PhaseState, Pin,
    Rollout, SavedFilter, StandingOrder, StopOnFailures, WaitingDeployment,
};
pub use users::{NewToken, NewUser, Token, UpdatedUser, User};
pub use webhooks::{MadeWebhook, NewWebhook, Webhook, WebhookTest};
