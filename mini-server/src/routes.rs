//! The whole HTTP surface: method, path, who may call, handler.

use axum::http::Method;
use tandem_api::management::Role::{Admin, Operator, Viewer};

use crate::access::Access::{Anyone, Browser, Device, Monitor, Person, Visitor};
use crate::device_api::{
    auth_request, deployment_status, download, inventory as own_inventory, log_upload, next,
};
use crate::management::{
    artifacts, audit, deployment_devices, deployments, devices, filters, groups, inventory,
    log_level, login, monitor, pins, releases, rollouts, standing_orders, tags, tokens, upload,
    users, webhooks,
};
use crate::surface::Surface;
use crate::web::{
    assets, audit as audit_page, deployment, deployments as deployment_list, device, device_log,
    devices as device_list, docs, events, import, new_deployment, overview, people, release,
    releases as release_list, settings, sign_in, standing, start, webhooks as webhook_list,
};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// Every route of the server.
#[must_use]
#[rustfmt::skip]
pub fn surface() -> Surface {
    Surface::default()
        // Devices
        .on(POST,   "/api/devices/v1/authentication/auth_requests",                        Anyone,            auth_request::post)
        .on(POST,   "/api/devices/v2/deployments/device/deployments/next",                 Device,            next::post_v2)
        .on(POST,   "/api/devices/v1/deployments/device/deployments/next",                 Device,            next::post_v1)
        .on(GET,    "/api/devices/v1/deployments/device/deployments/next",                 Device,            next::get_v1)
        .on(GET,    "/api/devices/v2/deployments/device/deployments/{id}/update_control_map", Device,            next::control_map)
        .on(PUT,    "/api/devices/v1/deployments/device/deployments/{id}/status",          Device,            deployment_status::put)
        .on(PUT,    "/api/devices/v1/deployments/device/deployments/{id}/log",             Device,            log_upload::put)
        .on(PUT,    "/api/devices/v1/inventory/device/attributes",                         Device,            own_inventory::put)
        .on(PATCH,  "/api/devices/v1/inventory/device/attributes",                         Device,            own_inventory::patch)
        // Links: the address is the permission
        .on(GET,    "/api/devices/v1/download/{artifact}/{device}/{auth_set}",             Anyone,            download::for_device)
        .on(GET,    "/api/devices/v1/artifacts/{artifact}/{sha256}",                       Anyone,            download::for_caches)
        .on(GET,    "/api/management/v1/download/{artifact}",                              Anyone,            download::for_operator)
        // People
        .on(POST,   "/api/management/v1/useradm/auth/login",                               Anyone,            login::post)
        .on(POST,   "/api/management/v1/useradm/auth/logout",                              Person(Viewer),    login::logout)
        .on(GET,    "/api/management/v1/useradm/users",                                    Person(Admin),     users::list)
        .on(POST,   "/api/management/v1/useradm/users",                                    Person(Admin),     users::post)
        .on(GET,    "/api/management/v1/useradm/users/me",                                 Person(Viewer),    users::get_own)
        .on(PUT,    "/api/management/v1/useradm/users/me",                                 Person(Viewer),    users::put_own)
        .on(GET,    "/api/management/v1/useradm/users/{id}",                               Person(Admin),     users::get)
        .on(PUT,    "/api/management/v1/useradm/users/{id}",                               Person(Admin),     users::put)
        .on(DELETE, "/api/management/v1/useradm/users/{id}",                               Person(Admin),     users::delete)
        .on(GET,    "/api/management/v1/useradm/settings/tokens",                          Person(Viewer),    tokens::list)
        .on(POST,   "/api/management/v1/useradm/settings/tokens",                          Person(Viewer),    tokens::post)
        .on(DELETE, "/api/management/v1/useradm/settings/tokens/{id}",                     Person(Viewer),    tokens::delete)
        .on(GET,    "/api/management/v1/auditlogs/logs",                                   Person(Admin),     audit::list)
        .on(GET,    "/api/management/v1/auditlogs/logs/export",                            Person(Admin),     audit::export)
        .on(GET,    "/api/management/v1/webhooks",                                         Person(Admin),     webhooks::list)
        .on(POST,   "/api/management/v1/webhooks",                                         Person(Admin),     webhooks::post)
        .on(DELETE, "/api/management/v1/webhooks/{id}",                                    Person(Admin),     webhooks::delete)
        .on(POST,   "/api/management/v1/webhooks/{id}/test",                               Person(Admin),     webhooks::test)
        .on(GET,    "/api/management/v1/server/log_level",                                 Person(Admin),     log_level::get)
        .on(PUT,    "/api/management/v1/server/log_level",                                 Person(Admin),     log_level::put)
        // Which devices are let in
        .on(GET,    "/api/management/v2/devauth/devices",                                  Person(Viewer),    devices::list)
        .on(POST,   "/api/management/v2/devauth/devices",                                  Person(Operator),  devices::preauthorize)
        .on(POST,   "/api/management/v2/devauth/devices/import",                           Person(Operator),  devices::import)
        .on(POST,   "/api/management/v2/devauth/devices/search",                           Person(Viewer),    devices::search)
        .on(GET,    "/api/management/v2/devauth/devices/count",                            Person(Viewer),    devices::count)
        .on(GET,    "/api/management/v2/devauth/devices/{id}",                             Person(Viewer),    devices::get)
        .on(DELETE, "/api/management/v2/devauth/devices/{id}",                             Person(Operator),  devices::decommission)
        .on(DELETE, "/api/management/v2/devauth/devices/{id}/auth/{aid}",                  Person(Operator),  devices::dismiss)
        .on(GET,    "/api/management/v2/devauth/devices/{id}/auth/{aid}/status",           Person(Viewer),    devices::status)
        .on(PUT,    "/api/management/v2/devauth/devices/{id}/auth/{aid}/status",           Person(Operator),  devices::decide)
        .on(DELETE, "/api/management/v2/devauth/tokens/{id}",                              Person(Operator),  devices::revoke_token)
        .on(GET,    "/api/management/v2/devauth/limits/{name}",                            Person(Viewer),    devices::limit)
        // What is known about devices
        .on(GET,    "/api/management/v1/inventory/devices",                                Person(Viewer),    inventory::list)
        .on(GET,    "/api/management/v1/inventory/devices/{id}",                           Person(Viewer),    inventory::get)
        .on(DELETE, "/api/management/v1/inventory/devices/{id}",                           Person(Operator),  inventory::clear)
        .on(PUT,    "/api/management/v1/inventory/devices/{id}/tags",                      Person(Operator),  tags::put)
        .on(PATCH,  "/api/management/v1/inventory/devices/{id}/tags",                      Person(Operator),  tags::patch)
        .on(GET,    "/api/management/v1/inventory/devices/{id}/group",                     Person(Viewer),    groups::of_device)
        .on(PUT,    "/api/management/v1/inventory/devices/{id}/group",                     Person(Operator),  groups::set)
        .on(DELETE, "/api/management/v1/inventory/devices/{id}/group/{name}",              Person(Operator),  groups::leave)
        .on(GET,    "/api/management/v1/inventory/groups",                                 Person(Viewer),    groups::list)
        .on(DELETE, "/api/management/v1/inventory/groups/{name}",                          Person(Operator),  groups::dissolve)
        .on(GET,    "/api/management/v1/inventory/groups/{name}/devices",                  Person(Viewer),    groups::devices)
        .on(PATCH,  "/api/management/v1/inventory/groups/{name}/devices",                  Person(Operator),  groups::add)
        .on(DELETE, "/api/management/v1/inventory/groups/{name}/devices",                  Person(Operator),  groups::remove)
        .on(POST,   "/api/management/v2/inventory/filters/search",                         Person(Viewer),    inventory::search)
        .on(GET,    "/api/management/v2/inventory/filters/attributes",                     Person(Viewer),    inventory::attributes)
        .on(GET,    "/api/management/v2/inventory/statistics",                             Person(Viewer),    inventory::statistics)
        // Artifacts and releases
        .on(GET,    "/api/management/v1/deployments/artifacts",                            Person(Viewer),    artifacts::list)
        .on_untimed(POST, "/api/management/v1/deployments/artifacts",                      Person(Operator),  upload::post)
        .on(GET,    "/api/management/v1/deployments/artifacts/list",                       Person(Viewer),    artifacts::list_paged)
        .on(GET,    "/api/management/v2/deployments/artifacts",                            Person(Viewer),    artifacts::list_v2)
        .on(GET,    "/api/management/v1/deployments/artifacts/{id}",                       Person(Viewer),    artifacts::get)
        .on(PUT,    "/api/management/v1/deployments/artifacts/{id}",                       Person(Operator),  artifacts::put)
        .on(DELETE, "/api/management/v1/deployments/artifacts/{id}",                       Person(Operator),  artifacts::delete)
        .on(GET,    "/api/management/v1/deployments/artifacts/{id}/download",              Person(Viewer),    artifacts::download)
        .on(GET,    "/api/management/v1/deployments/limits/storage",                       Person(Viewer),    artifacts::storage)
        .on(GET,    "/api/management/v1/deployments/deployments/releases",                 Person(Viewer),    releases::list_v1)
        .on(GET,    "/api/management/v1/deployments/deployments/releases/list",            Person(Viewer),    releases::list_v1_paged)
        .on(GET,    "/api/management/v2/deployments/deployments/releases",                 Person(Viewer),    releases::list_v2)
        .on(DELETE, "/api/management/v2/deployments/deployments/releases",                 Person(Operator),  releases::delete)
        .on(GET,    "/api/management/v2/deployments/deployments/releases/{name}",          Person(Viewer),    releases::get)
        .on(PATCH,  "/api/management/v2/deployments/deployments/releases/{name}",          Person(Operator),  releases::patch)
        .on(PUT,    "/api/management/v2/deployments/deployments/releases/{name}/tags",     Person(Operator),  releases::put_tags)
        .on(GET,    "/api/management/v2/deployments/releases/all/tags",                    Person(Viewer),    releases::all_tags)
        .on(GET,    "/api/management/v2/deployments/releases/all/types",                   Person(Viewer),    releases::all_types)
        // Deployments
        .on(GET,    "/api/management/v1/deployments/deployments",                          Person(Viewer),    deployments::list)
        .on(POST,   "/api/management/v1/deployments/deployments",                          Person(Operator),  deployments::post)
        .on(GET,    "/api/management/v2/deployments/deployments",                          Person(Viewer),    deployments::list_v2)
        .on(POST,   "/api/management/v1/deployments/deployments/group/{name}",             Person(Operator),  deployments::post_group)
        .on(POST,   "/api/management/v1/deployments/deployments/statistics/list",          Person(Viewer),    deployments::statistics_list)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}",                     Person(Viewer),    deployments::get)
        .on(PUT,    "/api/management/v1/deployments/deployments/{id}/status",              Person(Operator),  deployments::abort)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}/statistics",          Person(Viewer),    deployments::statistics)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}/device_list",         Person(Viewer),    deployment_devices::targets)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}/devices",             Person(Viewer),    deployment_devices::list)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}/devices/list",        Person(Viewer),    deployment_devices::list_paged)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}/devices/{device}/log", Person(Viewer),    deployment_devices::log)
        .on(GET,    "/api/management/v1/deployments/deployments/devices/{device}",         Person(Viewer),    deployment_devices::history)
        .on(DELETE, "/api/management/v1/deployments/deployments/devices/{device}",         Person(Operator),  deployment_devices::abort)
        .on(POST,   "/api/management/v2/deployments/deployments",                          Person(Operator),  deployments::post)
        .on(POST,   "/api/management/v1/deployments/deployments/{id}/pause",               Person(Operator),  rollouts::pause)
        .on(POST,   "/api/management/v1/deployments/deployments/{id}/resume",              Person(Operator),  rollouts::resume)
        .on(POST,   "/api/management/v1/deployments/deployments/{id}/advance",             Person(Operator),  rollouts::advance)
        .on(POST,   "/api/management/v1/deployments/deployments/{id}/retry",               Person(Operator),  rollouts::retry)
        .on(GET,    "/api/management/v1/deployments/standing_orders",                      Person(Viewer),    standing_orders::list)
        .on(POST,   "/api/management/v1/deployments/standing_orders",                      Person(Operator),  standing_orders::post)
        .on(DELETE, "/api/management/v1/deployments/standing_orders/{id}",                 Person(Operator),  standing_orders::delete)
        .on(GET,    "/api/management/v1/deployments/devices/{id}/waiting",                 Person(Viewer),    deployment_devices::waiting)
        .on(GET,    "/api/management/v1/deployments/devices/{id}/pin",                     Person(Viewer),    pins::get)
        .on(PUT,    "/api/management/v1/deployments/devices/{id}/pin",                     Person(Operator),  pins::put)
        .on(DELETE, "/api/management/v1/deployments/devices/{id}/pin",                     Person(Operator),  pins::delete)
        .on(GET,    "/api/management/v1/deployments/groups/{name}/maintenance_window",     Person(Viewer),    pins::get_window)
        .on(PUT,    "/api/management/v1/deployments/groups/{name}/maintenance_window",     Person(Operator),  pins::put_window)
        .on(DELETE, "/api/management/v1/deployments/groups/{name}/maintenance_window",     Person(Operator),  pins::delete_window)
        .on(GET,    "/api/management/v2/inventory/filters",                                Person(Viewer),    filters::list)
        .on(POST,   "/api/management/v2/inventory/filters",                                Person(Operator),  filters::post)
        .on(GET,    "/api/management/v2/inventory/filters/{id}",                           Person(Viewer),    filters::get)
        .on(DELETE, "/api/management/v2/inventory/filters/{id}",                           Person(Operator),  filters::delete)
        // Pages
        .on(GET,    "/sign-in",                                                            Visitor,           sign_in::get)
        .on(POST,   "/sign-in",                                                            Visitor,           sign_in::post)
        .on(GET,    "/assets/{name}",                                                      Visitor,           assets::get)
        .on(GET,    "/docs",                                                               Visitor,           docs::start)
        .on(GET,    "/docs/{chapter}",                                                     Visitor,           docs::chapter)
        .on(POST,   "/sign-out",                                                           Browser(Viewer),   sign_in::leave)
        .on(GET,    "/events",                                                             Browser(Viewer),   events::get)
        .on(GET,    "/",                                                                   Browser(Viewer),   overview::get)
        .on(GET,    "/start",                                                              Browser(Operator), start::get)
        .on(GET,    "/ca.crt",                                                             Browser(Viewer),   settings::authority)
        .on(GET,    "/devices",                                                            Browser(Viewer),   device_list::get)
        .on(POST,   "/devices",                                                            Browser(Operator), device_list::post)
        .on(GET,    "/devices/import",                                                     Browser(Operator), import::get)
        .on(POST,   "/devices/import",                                                     Browser(Operator), import::post)
        .on(GET,    "/devices/{id}",                                                       Browser(Viewer),   device::get)
        .on(POST,   "/devices/{id}",                                                       Browser(Operator), device::post)
        .on(GET,    "/devices/{id}/logs/{deployment}",                                     Browser(Viewer),   device_log::get)
        .on(GET,    "/releases",                                                           Browser(Viewer),   release_list::get)
        .on_untimed(POST, "/releases",                                                     Browser(Operator), release_list::post)
        .on(GET,    "/releases/{id}",                                                      Browser(Viewer),   release::get)
        .on(POST,   "/releases/{id}",                                                      Browser(Operator), release::post)
        .on(GET,    "/releases/{id}/download",                                             Browser(Viewer),   release::download)
        .on(GET,    "/deployments",                                                        Browser(Viewer),   deployment_list::get)
        .on(POST,   "/deployments",                                                        Browser(Operator), standing::post)
        .on(GET,    "/deployments/new",                                                    Browser(Operator), new_deployment::get)
        .on(POST,   "/deployments/new",                                                    Browser(Operator), new_deployment::post)
        .on(GET,    "/deployments/{id}",                                                   Browser(Viewer),   deployment::get)
        .on(POST,   "/deployments/{id}",                                                   Browser(Operator), deployment::post)
        .on(GET,    "/people",                                                             Browser(Admin),    people::get)
        .on(POST,   "/people",                                                             Browser(Admin),    people::post)
        .on(GET,    "/audit",                                                              Browser(Admin),    audit_page::get)
        .on(GET,    "/audit/download",                                                     Browser(Admin),    audit_page::export)
        .on(GET,    "/webhooks",                                                           Browser(Admin),    webhook_list::get)
        .on(POST,   "/webhooks",                                                           Browser(Admin),    webhook_list::post)
        .on(GET,    "/settings",                                                           Browser(Viewer),   settings::get)
        .on(POST,   "/settings",                                                           Browser(Viewer),   settings::post)
        // Programs that watch
        .on(GET,    "/api/openapi.json",                                                   Anyone,            monitor::description)
        .on(GET,    "/healthz",                                                            Anyone,            monitor::health)
        .on(GET,    "/metrics",                                                            Monitor,           monitor::metrics)
}
