#include "host/routes.hpp"

#include "exec/service.hpp"
#include "files/routes.hpp"
#include "host/create_request.hpp"
#include "http/auth.hpp"
#include "http/target.hpp"
#include "proxy/routes.hpp"

#include <hf/sandbox/wire/routes.hpp>
#include <hf/sandbox/wire/sandboxes.hpp>

#include <exception>
#include <memory>
#include <utility>

namespace hf::agent {
namespace {

constexpr std::string_view sandbox_prefix = "/v1/sandboxes/{id}";

std::string const& id_of(exchange const& ex) {
  return ex.head().path[2];
}

http_error no_such_sandbox(std::string const& id) {
  return {404, "not_found", "no such sandbox: " + id};
}

std::shared_ptr<sandbox> require(sandbox_registry const& sandboxes, std::string const& id) {
  auto box = sandboxes.find(id);
  if (!box)
    throw no_such_sandbox(id);
  return box;
}

asio::awaitable<void> create_sandboxes(exchange& ex, sandbox_registry& sandboxes) {
  std::string const body = co_await ex.read_all(wire::max_create_body);
  auto const request = parse_create_request(body);
  auto const made = co_await sandboxes.create(request);
  json answer = json::object();
  answer["sandboxes"] = json::array();
  answer["rejected"] = request.count - static_cast<std::int64_t>(made.size());
  for (auto const& box : made) {
    auto entry = box->entry();
    entry.token = box->token;
    answer["sandboxes"].push_back(wire::sandbox_entry_to_json(entry));
  }
  std::exception_ptr lost;
  try {
    co_await ex.respond(200, answer);
  } catch (...) {
    lost = std::current_exception();
  }
  if (!lost)
    co_return;
  // Nobody has learnt of them.
  for (auto const& box : made)
    co_await sandboxes.remove(box);
  std::rethrow_exception(lost);
}

asio::awaitable<void> list_sandboxes(exchange& ex, sandbox_registry& sandboxes) {
  json answer = json::array();
  for (auto const& box : sandboxes.list()) {
    auto entry = box->entry();
    entry.created_at_ms = box->created_at_ms;
    answer.push_back(wire::sandbox_entry_to_json(entry));
  }
  co_await ex.respond(200, answer);
}

asio::awaitable<void> delete_all(exchange& ex, sandbox_registry& sandboxes) {
  std::size_t deleted = 0;
  json errors = json::array();
  for (auto const& box : sandboxes.list()) {
    std::string const failure = co_await sandboxes.remove(box);
    ++deleted;
    if (!failure.empty())
      errors.push_back(box->id + ": " + failure);
  }
  json answer = json::object();
  answer["deleted"] = deleted;
  if (!errors.empty())
    answer["errors"] = errors;
  co_await ex.respond(errors.empty() ? 200 : 500, answer);
}

asio::awaitable<void> delete_one(exchange& ex, sandbox_registry& sandboxes) {
  auto const box = require(sandboxes, id_of(ex));
  std::string const failure = co_await sandboxes.remove(box);
  json answer = json::object();
  answer["id"] = box->id;
  answer["deleted"] = true;
  if (!failure.empty())
    answer["error"] = failure;
  co_await ex.respond(failure.empty() ? 200 : 500, answer);
}

asio::awaitable<void> tell_token(exchange& ex, sandbox_registry& sandboxes) {
  auto const box = require(sandboxes, id_of(ex));
  json answer = json::object();
  answer["id"] = box->id;
  answer["token"] = box->token;
  co_await ex.respond(200, answer);
}

// The routes of one sandbox, written as for a machine that is one.
std::shared_ptr<router const> sandbox_routes(context& shared, sandbox_registry& sandboxes) {
  auto routes = std::make_shared<router>();
  add_exec_routes(*routes, sandbox_prefix, [&sandboxes](exchange& ex) -> exec_service& {
    return require(sandboxes, id_of(ex))->commands;
  });
  add_files_routes(*routes, shared, sandbox_prefix,
                   [&sandboxes](exchange& ex) { return require(sandboxes, id_of(ex))->files; });
  add_proxy_routes(*routes, shared, sandbox_prefix, [&sandboxes](exchange& ex) {
    return proxy_place{require(sandboxes, id_of(ex))->files};
  });
  return routes;
}

asio::awaitable<void> call_sandbox(exchange& ex, sandbox_registry& sandboxes,
                                   std::shared_ptr<router const> routes) {
  // What the route works on lives until it has ended, also when the sandbox is deleted meanwhile.
  auto const box = require(sandboxes, id_of(ex));
  auto const active = box->charged_to->activity.hold();
  auto const& head = ex.head();
  bool path_known = false;
  handler const* const handle = routes->find(head.method, head.path, path_known);
  if (handle == nullptr)
    throw http_error(404, "not_found",
                     "no route: " + head.method + " " + std::string(target_path(head.target)));
  co_await (*handle)(ex);
}

}  // namespace

void add_host_routes(router& routes, context& shared, sandbox_registry& sandboxes) {
  using route = asio::awaitable<void> (*)(exchange&, sandbox_registry&);
  auto const add = [&](char const* method, std::string const& below, route handle) {
    routes.add(method, std::string(wire::sandboxes_route) + below,
               [&sandboxes, handle](exchange& ex) { return handle(ex, sandboxes); });
  };
  add("POST", "", create_sandboxes);
  add("GET", "", list_sandboxes);
  add("DELETE", "", delete_all);
  add("DELETE", "/{id}", delete_one);
  add("GET", "/{id}/token", tell_token);
  routes.add("*", std::string(sandbox_prefix) + "/{rest...}",
             [&sandboxes, below = sandbox_routes(shared, sandboxes)](exchange& ex) {
               return call_sandbox(ex, sandboxes, below);
             });
}

json sandbox_features(bool peers_known) {
  json features = json::object();
  features["sandboxes"] = true;
  features["user"] = "commands of a sandbox run as its own user";
  if (peers_known)
    features["peer_check"] = true;
  else
    features["peer_check"] =
        "the kernel does not tell who connects (NETLINK_SOCK_DIAG); tokens alone keep sandboxes "
        "from the agent's routes";
  return features;
}

bool is_authorised(request_head const& head, std::string const& host_token,
                   sandbox_registry const& sandboxes) {
  auto const& path = head.path;
  auto const offered = head.field("x-sandbox-token");
  bool const scoped = path.size() >= 3 && path[0] == "v1" && path[1] == "sandboxes" &&
                      !(path.size() == 4 && path[3] == "token");
  if (!scoped)
    return host_token.empty() || equal_in_constant_time(host_token, offered);
  static std::string const nobodys(64, '0');
  auto const box = sandboxes.find(path[2]);
  bool const equal = equal_in_constant_time(box ? box->token : nobodys, offered);
  return box != nullptr && equal;
}

}  // namespace hf::agent
