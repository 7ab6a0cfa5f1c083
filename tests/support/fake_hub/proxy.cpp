#include "support/fake_hub/downgrade.hpp"
#include "support/fake_hub/network_namespace.hpp"
#include "support/fake_hub/state.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace hf::testing_support::fake {

namespace {

constexpr std::uint64_t unknown_size = std::numeric_limits<std::uint64_t>::max();

bool is_hop_field(std::string_view name) {
  for (std::string_view const hop :
       {"Connection", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade"})
    if (http::iequals(name, hop))
      return true;
  return false;
}

/// Passes bytes both ways until one side ends.
void splice(connection& a, connection& b) {
  std::vector<char> bytes(65536);
  bool open[2] = {true, true};
  connection* const sides[2] = {&a, &b};
  while (open[0] || open[1]) {
    pollfd ready[2];
    for (int i = 0; i < 2; ++i)
      ready[i] = {open[i] ? sides[i]->fd() : -1, POLLIN, 0};
    bool const buffered = a.buffered() > 0 || b.buffered() > 0;
    if (::poll(ready, 2, buffered ? 0 : -1) < 0)
      return;
    for (int i = 0; i < 2; ++i) {
      if (!open[i] || (ready[i].revents == 0 && sides[i]->buffered() == 0))
        continue;
      auto const got = sides[i]->read_some(bytes.data(), bytes.size());
      if (got == 0) {
        open[i] = false;
        ::shutdown(sides[1 - i]->fd(), SHUT_WR);
      } else if (!sides[1 - i]->write({bytes.data(), got})) {
        return;
      }
    }
  }
}

/// Passes the request's body on; false when the agent stopped reading (its answer is the reason).
bool send_body(connection& from, connection& to, std::uint64_t left) {
  std::vector<char> bytes(262144);
  while (left > 0) {
    auto const got = from.read_some(
        bytes.data(), static_cast<std::size_t>((std::min<std::uint64_t>)(left, bytes.size())));
    if (got == 0 || !to.write({bytes.data(), got}))
      return false;
    left -= got;
  }
  return true;
}

/// Passes the answer's body on until its end; false when it broke off or was cut on purpose.
bool relay_body(connection& agent, connection& client, bool chunked, std::uint64_t left,
                std::optional<std::uint64_t> cut) {
  std::vector<char> bytes(262144);
  chunk_tracker chunks;
  std::uint64_t passed = 0;
  while (chunked ? !chunks.done() : left > 0) {
    if (agent.buffered() == 0) {
      pollfd ready[2] = {{agent.fd(), POLLIN, 0}, {client.fd(), POLLRDHUP, 0}};
      if (::poll(ready, 2, -1) < 0)
        return false;
      if (ready[0].revents == 0 && ready[1].revents != 0)
        return false;
    }
    auto const most = chunked
                          ? bytes.size()
                          : static_cast<std::size_t>((std::min<std::uint64_t>)(left, bytes.size()));
    auto const got = agent.read_some(bytes.data(), most);
    if (got == 0)
      return left == unknown_size && !chunked;
    std::size_t used = got;
    if (chunked)
      used = chunks.feed({bytes.data(), got});
    else if (left != unknown_size)
      left -= got;
    if (cut && passed + used > *cut) {
      client.write({bytes.data(), static_cast<std::size_t>(*cut - passed)});
      return false;
    }
    passed += used;
    if (!client.write({bytes.data(), used}))
      return false;
  }
  return true;
}

}  // namespace

bool proxy(state& hub, connection& on, request& rq, std::string const& job_id) {
  auto const size = content_length(rq.fields).value_or(0);
  auto const refuse = [&](int status, std::string const& why) {
    hub.record(hub_route::proxy, rq, status);
    bool const sent = respond_json(on, status, {{"error", why}},
                                   {{"Connection", size > 0 ? "close" : "keep-alive"}});
    return sent && size == 0;
  };
  auto const fault = hub.take_fault(hub_route::proxy);
  if (fault && fault->what == hub_fault::kind::delay) {
    std::unique_lock lock(hub.mutex);
    hub.changed.wait_for(lock, fault->delay, [&] { return hub.stopping; });
  }
  if (fault && fault->what == hub_fault::kind::reset) {
    hub.record(hub_route::proxy, rq, 0);
    on.reset();
    return false;
  }
  if (fault && fault->what == hub_fault::kind::answer)
    return refuse(fault->status, "on purpose");

  std::shared_ptr<job> which;
  std::string token;
  int network = -1;
  std::uint16_t port = 0;
  bool running = false;
  {
    std::lock_guard const lock(hub.mutex);
    which = hub.find(job_id);
    token = hub.token;
    if (which) {
      running = which->stage == "RUNNING" && which->end_stage.empty();
      network = which->network;
      port = which->port;
    }
  }
  if (rq.fields.get("Authorization") != "Bearer " + token)
    return refuse(401, "the Jobs proxy wants a bearer token with read access to the namespace");
  if (!which)
    return refuse(404, "no such job");
  if (!running)
    return refuse(502, "the job is not running");
  if (rq.fields.contains("Transfer-Encoding"))
    return refuse(411, "chunked request bodies are not supported");
  bool const common = hub.options.common_protocol;
  if (common && !is_common_route(rq))
    return refuse(404, "no route: " + rq.method + " " + rq.path);
  std::optional<std::string> command;
  if (common && has_command(rq)) {
    if (!on.read_exactly(rq.body, static_cast<std::size_t>(size)))
      return false;
    command = common_request_body(rq.body);
  }
  int const fd = connect_to(port, network, hub.home_network);
  if (fd < 0)
    return refuse(502, "nothing listens on port 49983 of the job");
  connection agent(fd);

  bool const upgrade = rq.fields.contains("Upgrade");
  std::string out = rq.method + " " + rq.target + " HTTP/1.1\r\n";
  for (auto const& field : rq.fields)
    if (!is_hop_field(field.name) && !http::iequals(field.name, "Authorization") &&
        !(command && http::iequals(field.name, "Content-Length")) &&
        !(common && http::iequals(field.name, "X-Sandbox-Instance")))
      out += field.name + ": " + field.value + "\r\n";
  out += upgrade ? "Connection: Upgrade\r\nUpgrade: " + std::string(rq.fields.get("Upgrade")) +
                       "\r\n\r\n"
                 : std::string("Connection: close\r\n\r\n");
  if (command)
    out.insert(out.find("\r\n") + 2, "Content-Length: " + std::to_string(command->size()) + "\r\n");
  bool const body_sent =
      agent.write(out) && (command ? agent.write(*command) : send_body(on, agent, size));
  auto const text = agent.read_head();
  auto const answer = text ? parse_head(*text) : std::nullopt;
  if (!answer || answer->first.size() < 12) {
    if (!body_sent || fault) {
      hub.record(hub_route::proxy, rq, 0);
      on.reset();
      return false;
    }
    hub.record(hub_route::proxy, rq, 502);
    respond_json(on, 502, {{"error", "the job closed the connection"}}, {{"Connection", "close"}});
    return false;
  }
  int const status = std::atoi(answer->first.c_str() + 9);
  hub.record(hub_route::proxy, rq, status);
  if (fault && fault->what == hub_fault::kind::lose_answer) {
    on.reset();
    return false;
  }
  if (common && (rq.path == "/health" || status >= 400) && content_length(answer->fields)) {
    std::string body;
    agent.read_exactly(body, static_cast<std::size_t>(*content_length(answer->fields)));
    return respond(on, status, common_answer_body(body), {{"Content-Type", "application/json"}}) &&
           body_sent;
  }
  bool const chunked = http::iequals(answer->fields.get("Transfer-Encoding"), "chunked");
  auto const length = content_length(answer->fields);
  bool const empty = rq.method == "HEAD" || status == 204 || status == 304;
  bool const framed = empty || chunked || length;
  bool const keep =
      body_sent && framed && status != 101 && !http::iequals(rq.fields.get("Connection"), "close");
  out = answer->first + "\r\n";
  for (auto const& field : answer->fields)
    if ((status == 101 || !is_hop_field(field.name)) &&
        !(common && http::iequals(field.name, "X-Sandbox-Instance")))
      out += field.name + ": " + field.value + "\r\n";
  if (status != 101)
    out += keep ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  if (!on.write(out + "\r\n"))
    return false;
  if (status == 101) {
    splice(on, agent);
    return false;
  }
  if (empty)
    return keep;
  auto const cut = fault && fault->what == hub_fault::kind::cut
                       ? std::optional<std::uint64_t>(fault->after_bytes)
                       : std::nullopt;
  if (relay_body(agent, on, chunked, length.value_or(unknown_size), cut))
    return keep;
  on.reset();
  return false;
}

}  // namespace hf::testing_support::fake
