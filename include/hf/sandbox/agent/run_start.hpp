#ifndef HF_SANDBOX_AGENT_RUN_START_HPP
#define HF_SANDBOX_AGENT_RUN_START_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/command.hpp>
#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/processes.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail {

/// Whether an answer with this status may be another one a little later.
[[nodiscard]] constexpr bool passing_status(int status) noexcept {
  return status == 408 || status == 429 || status == 502 || status == 503 || status == 504;
}

/// Whether the same request may succeed a little later.
template <class = void>
[[nodiscard]] bool may_pass(error const& why) noexcept {
  // Also what a gateway says that does not know the agent at the moment.
  if (why.http_status() != 0)
    return passing_status(why.http_status()) ||
           (why.kind() == errc::connect_failed && why.http_status() >= 400);
  switch (why.kind()) {
    case errc::resolve_failed:
    case errc::connect_failed:
    case errc::tls_failed:
    case errc::request_timed_out:
    case errc::connection_lost:
      return true;
    case errc::protocol_error:
      return why.hop() != hop::agent;
    default:
      return false;
  }
}

/// How long failures like this one are worth repeating, out of `budget`. An agent that says that
/// the machine is out of descriptors, processes or memory has done nothing, and says so at once.
inline std::chrono::milliseconds patience_with(error const& why,
                                               std::chrono::milliseconds budget) noexcept {
  bool const exhausted = why.kind() == errc::resource_exhausted && why.hop() == hop::agent &&
                         why.details().system_error != 0;
  if (exhausted)
    return (std::min)(budget, std::chrono::milliseconds(1000));
  // A gateway that has no way to a machine that runs: time for it to learn of the machine.
  if (why.kind() == errc::connect_failed && why.http_status() != 0)
    return (std::min)(budget, std::chrono::milliseconds(10'000));
  return budget;
}

/// Decides whether a request with an operation id may be sent again after a failure: when it had no
/// effect, or when the agent it was first sent to is sure to recognise it.
template <class = void>
class basic_resend_guard {
 public:
  /// `instance`: the agent as it is known before the first send. What other calls learn later may
  /// be the agent that came after it.
  explicit basic_resend_guard(std::string instance) : instance_(std::move(instance)) {}

  /// This agent has taken the request.
  void taken_by(std::string_view instance) { instance_ = std::string(instance); }
  /// To be called before each send: a repetition names the agent.
  void address(http::request& rq) const {
    if (arrived_)
      address_to(rq, instance_);
  }
  /// Takes note of a failed send.
  void failed(error const& why) noexcept {
    // Refusals by the agent had no effect; a gateway's 404, 502, 503 or 504 tells nothing.
    int const status = why.http_status();
    bool const refused =
        status != 0 &&
        (why.hop() == hop::agent || status == 429 ||
         (!passing_status(status) && (status < 400 || why.kind() != errc::connect_failed)));
    arrived_ = arrived_ || (why.may_have_reached_peer() && !refused);
  }
  /// Whether a send may have taken effect.
  [[nodiscard]] bool may_have_arrived() const noexcept { return arrived_; }
  /// Whether the request may be sent again.
  [[nodiscard]] bool allows() const noexcept { return !arrived_ || !instance_.empty(); }
  /// The agent that the request was first sent to; empty: not known.
  [[nodiscard]] std::string const& instance() const noexcept { return instance_; }

 private:
  std::string instance_;
  bool arrived_ = false;
};
using resend_guard = basic_resend_guard<>;

/// Asks the agent for the run of the handle's operation id and completes the handle. Throws when
/// there is no answer (those of the transport), or no such run: `errc::op_unknown`, or
/// `errc::not_found` from agents without operation ids.
template <transport Transport>
wire::run_status find_run(agent_client<Transport>& agent, run_handle& handle,
                          call_options const& options) {
  if (handle.operation_id.empty())
    throw error(errc::op_unknown, "the run has no operation id");
  auto rq =
      agent.make_request("GET", std::string(wire::ops_route) + "/" + handle.operation_id, options);
  address_to(rq, handle.agent_instance);
  auto const answer = agent.call_idempotent("look for the run", rq, 1u << 20);
  auto const run = wire::run_status_from_json(parse_json<wire::json>(answer.body));
  if (!wire::is_process_id(run.id))
    throw error(errc::protocol_error, "look for the run: the agent's answer has no id",
                {.http_status = answer.status, .where = hop::agent, .may_have_reached_peer = true});
  handle.process_id = run.id;
  if (handle.agent_instance.empty())
    handle.agent_instance = std::string(answer.fields.get(wire::instance_header));
  return run;
}

}  // namespace hf::detail

#endif
