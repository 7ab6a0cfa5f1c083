#ifndef HF_SANDBOX_AGENT_CLIENT_HPP
#define HF_SANDBOX_AGENT_CLIENT_HPP

#include <hf/sandbox/agent/answer_error.hpp>
#include <hf/sandbox/agent/endpoint.hpp>
#include <hf/sandbox/agent/health.hpp>
#include <hf/sandbox/agent/ready.hpp>
#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/peer_error.hpp>
#include <hf/sandbox/detail/printable.hpp>
#include <hf/sandbox/detail/retry_pauses.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace hf {

namespace detail {

/// Says which agent a request is meant for: another one, started since, refuses it
/// (`errc::op_unknown`). An empty instance says nothing.
template <class = void>
void address_to(http::request& rq, std::string const& instance) {
  if (!instance.empty())
    rq.fields.set(std::string(wire::instance_header), instance);
}

}  // namespace detail

/// Limits of one call to an agent.
struct call_options {
  /// Longest silence; 0: the transport's default (60 s).
  std::chrono::milliseconds stall_timeout{0};
  /// Point in time by which the call, retries included, has to be over.
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  /// Cancels the call (`errc::cancelled`).
  stop_token stop = {};
};

/// Speaks to one agent through any transport: requests, error mapping, safe retries, and what has
/// been learnt of the agent. All members may be called from several threads at once.
template <transport Transport>
class agent_client {
 public:
  /// The transport has to outlive the client. `health` saves a round trip when it is known.
  agent_client(Transport& transport, hf::endpoint to, std::optional<agent_health> health = {})
      : transport_(&transport), endpoint_(std::move(to)), health_(std::move(health)) {
    for (auto const& field : endpoint_.headers) {
      secrets_.push_back(field.value);
      if (auto const space = field.value.find(' '); space != std::string::npos)
        secrets_.push_back(field.value.substr(space + 1));
    }
    if (health_)
      instance_ = health_->instance;
  }

  agent_client(agent_client const&) = delete;
  agent_client& operator=(agent_client const&) = delete;

  /// Where the agent is, and what its requests carry.
  [[nodiscard]] hf::endpoint const& endpoint() const noexcept { return endpoint_; }

  /// Asked when the agent cannot be reached: has the machine ended? Then calls fail at once, with
  /// `errc::sandbox_expired`. To be set before the first call.
  void on_unreachable(std::function<bool()> machine_ended) {
    machine_ended_ = std::move(machine_ended);
  }

  /// The agent's instance id as far as it is known; empty for agents without operation ids.
  [[nodiscard]] std::string instance() const {
    std::lock_guard const lock(mutex_);
    return instance_;
  }

  /// A request to this agent; `target` is the path with its query.
  [[nodiscard]] http::request make_request(std::string method, std::string const& target,
                                           call_options const& options = {}) const {
    auto rq = detail::endpoint_request(endpoint_, std::move(method), target);
    if (options.stall_timeout.count() > 0)
      rq.stall_timeout = options.stall_timeout;
    rq.deadline = options.deadline;
    rq.stop = options.stop;
    return rq;
  }

  /// The machine has been ended: from now on every call is `errc::sandbox_expired`, and nothing is
  /// sent.
  void machine_was_ended() noexcept { ended_ = true; }

  /// Performs a request once; every head is looked at for the agent's instance. A 2xx answer
  /// without it, from an agent that has one, is a gateway's (`errc::connect_failed`).
  void send(http::request const& rq, http::response_sink& sink) {
    if (ended_)
      throw detail::sandbox_ended_error();
    learning_sink learning(*this, sink);
    try {
      transport_->send(rq, learning);
    } catch (error const& e) {
      if (learning.threw())
        throw;
      throw detail::peer_error(e, secrets_);
    }
  }

  /// The error for an answer of this agent or of a gateway in front of it.
  [[nodiscard]] error answer_error(std::string_view doing, http::response const& answer) const {
    return detail::agent_answer_error(doing, answer, {secrets_, !instance().empty()});
  }

  /// Performs a request once and buffers the answer up to `limit` bytes (`errc::too_large`). Throws
  /// for a status >= 400; `doing` begins the error's sentence.
  http::response call(std::string_view doing, http::request const& rq,
                      std::uint64_t limit = 64u << 20) {
    http::buffer_sink buffer(limit);
    send(rq, buffer);
    auto answer = std::move(buffer.answer());
    if (answer.status >= 300)
      throw answer_error(doing, answer);
    return answer;
  }

  /// Like `call`, for requests that may be performed any number of times: repeated after
  /// connection failures and after 429, 502, 503 and 504, at most five times, with pauses; after
  /// silence once.
  http::response call_idempotent(std::string_view doing, http::request const& rq,
                                 std::uint64_t limit = 64u << 20) {
    return retrying(rq, true, [&] { return call(doing, rq, limit); });
  }

  /// Like `call`, repeated only when the request cannot have had an effect: no byte of it can have
  /// arrived, or the agent refused it unread (408, 429, 503). What remains open after a broken
  /// connection, also one behind a gateway, is `errc::outcome_unknown`.
  http::response call_once(std::string_view doing, http::request const& rq,
                           std::uint64_t limit = 64u << 20) {
    try {
      return retrying(rq, false, [&] { return call(doing, rq, limit); });
    } catch (error const& e) {
      if (leaves_open(e)) {
        if (machine_ended_ && machine_ended_())
          throw detail::sandbox_ended_error(e.details());
        auto details = e.details();
        details.retry = retry_advice::no;
        throw error(errc::outcome_unknown,
                    std::string(doing) + ": the connection broke before the answer: " + e.what(),
                    std::move(details));
      }
      throw;
    }
  }

  /// Runs `attempt` up to five more times after failures that passing time can cure, once more
  /// after silence, until the request's deadline. With `idempotent` false only after those that had
  /// no effect.
  template <class Attempt, class Failure = error>
  auto retrying(http::request const& rq, bool idempotent, Attempt&& attempt)
      -> decltype(attempt()) {
    detail::retry_pauses pauses(std::chrono::milliseconds(100), std::chrono::milliseconds(5000),
                                rq.deadline, rq.stop);
    bool asked = false;
    for (int left = 5;; --left) {
      std::optional<Failure> failure;
      try {
        return attempt();
      } catch (error const& e) {
        // At the first failure to reach the agent and at the last: to ask may cost a request.
        if (is_unreachable(e) && (!std::exchange(asked, true) || left == 0) && is_end_of_machine(e))
          throw detail::sandbox_ended_error(e.details());
        if (left == 0 || !can_retry(e, idempotent))
          throw;
        // Each silence costs a whole timeout.
        if (e.kind() == errc::request_timed_out && e.http_status() == 0)
          left = 1;
        failure = e;
      }
      if (!pauses.wait(*failure))
        throw *failure;
    }
  }

  /// Whether a call failed before the agent: no connection, or a gateway's answer.
  [[nodiscard]] static bool is_unreachable(error const& why) noexcept {
    return why.kind() == errc::connect_failed || why.kind() == errc::resolve_failed ||
           (why.http_status() != 0 && why.hop() == hop::jobs_proxy);
  }

  /// Whether a call failed because the machine is gone. Asks the launcher where that is possible.
  [[nodiscard]] bool is_end_of_machine(error const& why) const {
    return is_unreachable(why) && machine_ended_ && machine_ended_();
  }

  /// What the agent can do; asks `/v1/info` once when the launch did not tell. An agent without
  /// that route has no features beyond the common protocol; it is asked for its `/health` when that
  /// is not known.
  agent_health features(call_options const& options = {}) {
    std::optional<agent_health> known;
    {
      std::lock_guard const lock(mutex_);
      known = health_;
    }
    if (known && known->features_known)
      return *known;
    agent_health learnt;
    try {
      learnt = ask(wire::info_route, options);
    } catch (error const& e) {
      if (e.http_status() != 404 || e.hop() != hop::agent)
        throw;
      if (!known)
        learnt = ask(wire::health_route, options);
    }
    if (known && learnt.version.empty())
      learnt = *known;
    learnt.features_known = true;
    std::lock_guard const lock(mutex_);
    health_ = learnt;
    return learnt;
  }

  /// Newest version of the common protocol that the agent speaks; asks like `features` when nothing
  /// is known of it.
  int protocol(call_options const& options = {}) {
    {
      std::lock_guard const lock(mutex_);
      if (health_)
        return health_->protocol;
    }
    return features(options).protocol;
  }

  /// Throws `errc::unsupported`, naming the feature, when the agent lacks it.
  void require(std::string const& feature, call_options const& options = {}) {
    auto const health = features(options);
    if (health.has(feature))
      return;
    auto const it = health.features.find(feature);
    std::string why = "; it speaks only the common protocol";
    if (it != health.features.end())
      why = " (" + detail::peer_text(it->second, secrets_, 200) + ")";
    else if (!health.features.empty())
      why = "; no feature of that name is known to it (version " +
            detail::peer_text(health.version, secrets_, 40) + ")";
    throw error(errc::unsupported, "the agent lacks the feature '" + feature + "'" + why,
                {.where = hop::agent});
  }

 private:
  class learning_sink final : public http::response_sink {
   public:
    learning_sink(agent_client& owner, http::response_sink& next) : owner_(owner), next_(next) {}
    http::flow on_head(http::response_head const& head) override {
      // Reset when nothing was thrown.
      threw_ = true;
      if (auto const id = head.fields.find(wire::instance_header))
        owner_.learn(*id);
      else if (head.status < 300 && !owner_.instance().empty())
        throw owner_.answer_error("call the agent", {head.status, head.fields, {}});
      auto const go_on = next_.on_head(head);
      threw_ = false;
      return go_on;
    }
    http::flow on_data(std::span<std::byte const> data) override {
      threw_ = true;
      auto const go_on = next_.on_data(data);
      threw_ = false;
      return go_on;
    }
    /// Whether the failure is not the transport's but came from what takes the answer.
    [[nodiscard]] bool threw() const noexcept { return threw_; }

   private:
    bool threw_ = false;
    agent_client& owner_;
    http::response_sink& next_;
  };

  agent_health ask(std::string_view route, call_options const& options) {
    auto const rq = make_request("GET", std::string(route), options);
    auto const answer = call_idempotent("ask the agent for its features", rq, 1u << 20);
    return detail::parse_health(detail::parse_json<wire::json>(answer.body),
                                std::string(answer.fields.get(wire::instance_header)));
  }

  void learn(std::string_view instance) {
    std::lock_guard const lock(mutex_);
    if (instance_ != instance)
      instance_ = std::string(instance);
  }

  static bool can_retry(error const& e, bool idempotent) {
    if (detail::refused_unread(e))
      return true;
    // A redirection is the same the next time.
    if (e.http_status() >= 300 && e.http_status() < 400)
      return false;
    switch (e.kind()) {
      case errc::cancelled:
        return false;
      case errc::connect_failed:
      case errc::resolve_failed:
      case errc::connection_lost:
      case errc::request_timed_out:
        return idempotent || !e.may_have_reached_peer();
      default:
        return idempotent && e.retry() == retry_advice::yes;
    }
  }

  /// Whether a call that failed so may have taken effect.
  static bool leaves_open(error const& e) {
    if (e.http_status() != 0)
      return e.hop() == hop::jobs_proxy && e.retry() == retry_advice::yes &&
             e.kind() != errc::rate_limited;
    return e.may_have_reached_peer() &&
           (e.kind() == errc::connection_lost || e.kind() == errc::request_timed_out ||
            e.kind() == errc::protocol_error);
  }

  Transport* transport_;
  hf::endpoint endpoint_;
  detail::secret_list secrets_;
  std::atomic<bool> ended_{false};
  std::function<bool()> machine_ended_;
  mutable std::mutex mutex_;
  std::optional<agent_health> health_;
  std::string instance_;
};

}  // namespace hf

#endif
