#ifndef HF_SANDBOX_AGENT_READY_HPP
#define HF_SANDBOX_AGENT_READY_HPP

#include <hf/sandbox/agent/answer_error.hpp>
#include <hf/sandbox/agent/endpoint.hpp>
#include <hf/sandbox/agent/health.hpp>
#include <hf/sandbox/detail/backoff.hpp>
#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/sleep.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace hf::detail {

/// A request to an agent: endpoint, method and target ("/v1/..." with its query) put together.
template <class = void>
[[nodiscard]] http::request endpoint_request(endpoint const& to, std::string method,
                                             std::string const& target) {
  http::request rq;
  rq.method = std::move(method);
  rq.url = to.url + target;
  rq.fields = to.headers;
  rq.unix_socket = to.unix_socket;
  rq.tls = to.tls;
  rq.connection_group = "agent";
  return rq;
}

/// Asks an agent for its health once. Nothing while it is not up (no connection, a reset, 502..504,
/// or an answer that is not an agent's); throws for errors that waiting does not cure.
template <transport Transport, class Json = wire::json>
std::optional<agent_health> probe_health(Transport& transport, endpoint const& to,
                                         std::chrono::milliseconds timeout, stop_token stop) {
  auto rq = endpoint_request(to, "GET", std::string(wire::health_route));
  rq.connect_timeout = timeout;
  rq.stall_timeout = timeout;
  rq.deadline = std::chrono::steady_clock::now() + timeout;
  rq.stop = std::move(stop);
  http::response answer;
  try {
    answer = http::fetch(transport, rq, 1u << 20);
  } catch (error const& e) {
    switch (e.kind()) {
      case errc::connect_failed:
      case errc::connection_lost:
      case errc::request_timed_out:
      case errc::resolve_failed:
      case errc::protocol_error:
        return std::nullopt;
      default:
        throw;
    }
  }
  if (answer.status >= 500 || answer.status == 404 || answer.status == 408 || answer.status == 429)
    return std::nullopt;
  if (answer.status >= 300) {
    answer_context context;
    for (auto const& field : to.headers)
      context.secrets.push_back(field.value);
    auto failure = agent_answer_error("wait for the agent", answer, context);
    // A gateway that does not know the agent yet.
    if (failure.kind() == errc::connect_failed)
      return std::nullopt;
    throw failure;
  }
  auto const body = parse_json<Json>(answer.body);
  if (answer.status != 200 || !body.is_object() || body.value("status", Json()) != "ok")
    return std::nullopt;
  return parse_health(body, std::string(answer.fields.get(wire::instance_header)));
}

/// Waits until the agent answers, polling from 5 ms (local) or 100 ms up to 1 s.
///
/// `check_machine` is called between attempts, at most every `check_interval`, and throws when the
/// machine has ended. `errc::start_timed_out` after `deadline`, `errc::cancelled` when stopped.
template <transport Transport>
agent_health wait_until_ready(
    Transport& transport, endpoint const& to, std::chrono::steady_clock::time_point deadline,
    stop_token const& stop, std::function<void()> const& check_machine,
    std::chrono::milliseconds first_pause = std::chrono::milliseconds(5),
    std::chrono::milliseconds check_interval = std::chrono::milliseconds(2000)) {
  using clock = std::chrono::steady_clock;
  backoff pauses(first_pause, std::chrono::milliseconds(1000));
  auto next_check = clock::now() + check_interval;
  for (;;) {
    auto const left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock::now());
    if (left.count() <= 0)
      throw error(errc::start_timed_out, "the agent did not answer within start_timeout");
    auto const timeout = (std::min)(left, std::chrono::milliseconds(5000));
    if (auto health = probe_health(transport, to, timeout, stop))
      return *health;
    if (check_machine && clock::now() >= next_check) {
      check_machine();
      next_check = clock::now() + check_interval;
    }
    auto const pause = (std::min)(clock::now() + pauses.next(), deadline);
    if (!sleep_until(pause, stop))
      throw error(errc::cancelled, "waiting for the agent was cancelled");
  }
}

}  // namespace hf::detail

#endif
