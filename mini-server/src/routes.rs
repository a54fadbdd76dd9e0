//! The whole HTTP surface: method, path, who may call, handler.

use axum::http::Method;

use crate::access::Access::{Anyone, Browser, Device, Monitor, Person, Visitor};
use crate::access::Role::Admin;
use crate::device_api::{
    auth_request, deployment_status, download, inventory as own_inventory, log_upload, next,
};
use crate::management::{
    artifacts, deployment_devices, deployments, devices, groups, inventory, login, monitor,
    releases, tags, tokens, upload, users,
};
use crate::surface::Surface;
use crate::web::{
    assets, deployment, deployments as deployment_list, device, devices as device_list, docs,
    events, new_deployment, overview, people, release, releases as release_list, settings, sign_in,
    start,
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
        .on(POST,   "/api/devices/v1/authentication/auth_requests",                        Anyone, auth_request::post)
        .on(POST,   "/api/devices/v2/deployments/device/deployments/next",                 Device, next::post_v2)
        .on(POST,   "/api/devices/v1/deployments/device/deployments/next",                 Device, next::post_v1)
        .on(GET,    "/api/devices/v1/deployments/device/deployments/next",                 Device, next::get_v1)
        .on(GET,    "/api/devices/v2/deployments/device/deployments/{id}/update_control_map", Device, next::control_map)
        .on(PUT,    "/api/devices/v1/deployments/device/deployments/{id}/status",          Device, deployment_status::put)
        .on(PUT,    "/api/devices/v1/deployments/device/deployments/{id}/log",             Device, log_upload::put)
        .on(PUT,    "/api/devices/v1/inventory/device/attributes",                         Device, own_inventory::put)
        .on(PATCH,  "/api/devices/v1/inventory/device/attributes",                         Device, own_inventory::patch)
        // Links: the address is the permission
        .on(GET,    "/api/devices/v1/download/{artifact}/{device}/{auth_set}",             Anyone, download::for_device)
        .on(GET,    "/api/management/v1/download/{artifact}",                              Anyone, download::for_operator)
        // People
        .on(POST,   "/api/management/v1/useradm/auth/login",                               Anyone, login::post)
        .on(POST,   "/api/management/v1/useradm/auth/logout",                              Person(Admin), login::logout)
        .on(GET,    "/api/management/v1/useradm/users",                                    Person(Admin), users::list)
        .on(POST,   "/api/management/v1/useradm/users",                                    Person(Admin), users::post)
        .on(GET,    "/api/management/v1/useradm/users/{id}",                               Person(Admin), users::get)
        .on(PUT,    "/api/management/v1/useradm/users/{id}",                               Person(Admin), users::put)
        .on(DELETE, "/api/management/v1/useradm/users/{id}",                               Person(Admin), users::delete)
        .on(GET,    "/api/management/v1/useradm/settings/tokens",                          Person(Admin), tokens::list)
        .on(POST,   "/api/management/v1/useradm/settings/tokens",                          Person(Admin), tokens::post)
        .on(DELETE, "/api/management/v1/useradm/settings/tokens/{id}",                     Person(Admin), tokens::delete)
        // Which devices are let in
        .on(GET,    "/api/management/v2/devauth/devices",                                  Person(Admin), devices::list)
        .on(POST,   "/api/management/v2/devauth/devices",                                  Person(Admin), devices::preauthorize)
        .on(POST,   "/api/management/v2/devauth/devices/search",                           Person(Admin), devices::search)
        .on(GET,    "/api/management/v2/devauth/devices/count",                            Person(Admin), devices::count)
        .on(GET,    "/api/management/v2/devauth/devices/{id}",                             Person(Admin), devices::get)
        .on(DELETE, "/api/management/v2/devauth/devices/{id}",                             Person(Admin), devices::decommission)
        .on(DELETE, "/api/management/v2/devauth/devices/{id}/auth/{aid}",                  Person(Admin), devices::dismiss)
        .on(GET,    "/api/management/v2/devauth/devices/{id}/auth/{aid}/status",           Person(Admin), devices::status)
        .on(PUT,    "/api/management/v2/devauth/devices/{id}/auth/{aid}/status",           Person(Admin), devices::decide)
        .on(DELETE, "/api/management/v2/devauth/tokens/{id}",                              Person(Admin), devices::revoke_token)
        .on(GET,    "/api/management/v2/devauth/limits/{name}",                            Person(Admin), devices::limit)
        // What is known about devices
        .on(GET,    "/api/management/v1/inventory/devices",                                Person(Admin), inventory::list)
        .on(GET,    "/api/management/v1/inventory/devices/{id}",                           Person(Admin), inventory::get)
        .on(DELETE, "/api/management/v1/inventory/devices/{id}",                           Person(Admin), inventory::clear)
        .on(PUT,    "/api/management/v1/inventory/devices/{id}/tags",                      Person(Admin), tags::put)
        .on(PATCH,  "/api/management/v1/inventory/devices/{id}/tags",                      Person(Admin), tags::patch)
        .on(GET,    "/api/management/v1/inventory/devices/{id}/group",                     Person(Admin), groups::of_device)
        .on(PUT,    "/api/management/v1/inventory/devices/{id}/group",                     Person(Admin), groups::set)
        .on(DELETE, "/api/management/v1/inventory/devices/{id}/group/{name}",              Person(Admin), groups::leave)
        .on(GET,    "/api/management/v1/inventory/groups",                                 Person(Admin), groups::list)
        .on(DELETE, "/api/management/v1/inventory/groups/{name}",                          Person(Admin), groups::dissolve)
        .on(GET,    "/api/management/v1/inventory/groups/{name}/devices",                  Person(Admin), groups::devices)
        .on(PATCH,  "/api/management/v1/inventory/groups/{name}/devices",                  Person(Admin), groups::add)
        .on(DELETE, "/api/management/v1/inventory/groups/{name}/devices",                  Person(Admin), groups::remove)
        .on(POST,   "/api/management/v2/inventory/filters/search",                         Person(Admin), inventory::search)
        .on(GET,    "/api/management/v2/inventory/filters/attributes",                     Person(Admin), inventory::attributes)
        .on(GET,    "/api/management/v2/inventory/statistics",                             Person(Admin), inventory::statistics)
        // Artifacts and releases
        .on(GET,    "/api/management/v1/deployments/artifacts",                            Person(Admin), artifacts::list)
        .on_untimed(POST, "/api/management/v1/deployments/artifacts",                      Person(Admin), upload::post)
        .on(GET,    "/api/management/v1/deployments/artifacts/list",                       Person(Admin), artifacts::list_paged)
        .on(GET,    "/api/management/v2/deployments/artifacts",                            Person(Admin), artifacts::list_v2)
        .on(GET,    "/api/management/v1/deployments/artifacts/{id}",                       Person(Admin), artifacts::get)
        .on(PUT,    "/api/management/v1/deployments/artifacts/{id}",                       Person(Admin), artifacts::put)
        .on(DELETE, "/api/management/v1/deployments/artifacts/{id}",                       Person(Admin), artifacts::delete)
        .on(GET,    "/api/management/v1/deployments/artifacts/{id}/download",              Person(Admin), artifacts::download)
        .on(GET,    "/api/management/v1/deployments/limits/storage",                       Person(Admin), artifacts::storage)
        .on(GET,    "/api/management/v1/deployments/deployments/releases",                 Person(Admin), releases::list_v1)
        .on(GET,    "/api/management/v1/deployments/deployments/releases/list",            Person(Admin), releases::list_v1_paged)
        .on(GET,    "/api/management/v2/deployments/deployments/releases",                 Person(Admin), releases::list_v2)
        .on(DELETE, "/api/management/v2/deployments/deployments/releases",                 Person(Admin), releases::delete)
        .on(GET,    "/api/management/v2/deployments/deployments/releases/{name}",          Person(Admin), releases::get)
        .on(PATCH,  "/api/management/v2/deployments/deployments/releases/{name}",          Person(Admin), releases::patch)
        .on(PUT,    "/api/management/v2/deployments/deployments/releases/{name}/tags",     Person(Admin), releases::put_tags)
        .on(GET,    "/api/management/v2/deployments/releases/all/tags",                    Person(Admin), releases::all_tags)
        .on(GET,    "/api/management/v2/deployments/releases/all/types",                   Person(Admin), releases::all_types)
        // Deployments
        .on(GET,    "/api/management/v1/deployments/deployments",                          Person(Admin), deployments::list)
        .on(POST,   "/api/management/v1/deployments/deployments",                          Person(Admin), deployments::post)
        .on(GET,    "/api/management/v2/deployments/deployments",                          Person(Admin), deployments::list_v2)
        .on(POST,   "/api/management/v1/deployments/deployments/group/{name}",             Person(Admin), deployments::post_group)
        .on(POST,   "/api/management/v1/deployments/deployments/statistics/list",          Person(Admin), deployments::statistics_list)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}",                     Person(Admin), deployments::get)
        .on(PUT,    "/api/management/v1/deployments/deployments/{id}/status",              Person(Admin), deployments::abort)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}/statistics",          Person(Admin), deployments::statistics)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}/device_list",         Person(Admin), deployment_devices::targets)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}/devices",             Person(Admin), deployment_devices::list)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}/devices/list",        Person(Admin), deployment_devices::list_paged)
        .on(GET,    "/api/management/v1/deployments/deployments/{id}/devices/{device}/log", Person(Admin), deployment_devices::log)
        .on(GET,    "/api/management/v1/deployments/deployments/devices/{device}",         Person(Admin), deployment_devices::history)
        .on(DELETE, "/api/management/v1/deployments/deployments/devices/{device}",         Person(Admin), deployment_devices::abort)
        // Pages
        .on(GET,    "/sign-in",                                                            Visitor, sign_in::get)
        .on(POST,   "/sign-in",                                                            Visitor, sign_in::post)
        .on(GET,    "/assets/{name}",                                                      Visitor, assets::get)
        .on(GET,    "/docs",                                                               Visitor, docs::start)
        .on(GET,    "/docs/{chapter}",                                                     Visitor, docs::chapter)
        .on(POST,   "/sign-out",                                                           Browser(Admin), sign_in::leave)
        .on(GET,    "/events",                                                             Browser(Admin), events::get)
        .on(GET,    "/",                                                                   Browser(Admin), overview::get)
        .on(GET,    "/start",                                                              Browser(Admin), start::get)
        .on(GET,    "/ca.crt",                                                             Browser(Admin), settings::authority)
        .on(GET,    "/devices",                                                            Browser(Admin), device_list::get)
        .on(POST,   "/devices",                                                            Browser(Admin), device_list::post)
        .on(GET,    "/devices/{id}",                                                       Browser(Admin), device::get)
        .on(POST,   "/devices/{id}",                                                       Browser(Admin), device::post)
        .on(GET,    "/devices/{id}/logs/{deployment}",                                     Browser(Admin), device::log)
        .on(GET,    "/releases",                                                           Browser(Admin), release_list::get)
        .on_untimed(POST, "/releases",                                                     Browser(Admin), release_list::post)
        .on(GET,    "/releases/{id}",                                                      Browser(Admin), release::get)
        .on(POST,   "/releases/{id}",                                                      Browser(Admin), release::post)
        .on(GET,    "/releases/{id}/download",                                             Browser(Admin), release::download)
        .on(GET,    "/deployments",                                                        Browser(Admin), deployment_list::get)
        .on(GET,    "/deployments/new",                                                    Browser(Admin), new_deployment::get)
        .on(POST,   "/deployments/new",                                                    Browser(Admin), new_deployment::post)
        .on(GET,    "/deployments/{id}",                                                   Browser(Admin), deployment::get)
        .on(POST,   "/deployments/{id}",                                                   Browser(Admin), deployment::post)
        .on(GET,    "/people",                                                             Browser(Admin), people::get)
        .on(POST,   "/people",                                                             Browser(Admin), people::post)
        .on(GET,    "/settings",                                                           Browser(Admin), settings::get)
        .on(POST,   "/settings",                                                           Browser(Admin), settings::post)
        // Programs that watch
        .on(GET,    "/healthz",                                                            Anyone,  monitor::health)
        .on(GET,    "/metrics",                                                            Monitor, monitor::metrics)
}
