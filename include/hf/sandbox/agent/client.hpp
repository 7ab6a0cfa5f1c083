#ifndef HF_SANDBOX_AGENT_CLIENT_HPP
#define HF_SANDBOX_AGENT_CLIENT_HPP

#include <hf/sandbox/agent/answer_error.hpp>
#include <hf/sandbox/agent/endpoint.hpp>
#include <hf/sandbox/agent/health.hpp>
#include <hf/sandbox/agent/ready.hpp>
#include <hf/sandbox/detail/retry_pauses.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/routes.hpp>

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
    if (health_)
      instance_ = health_->instance;
  }

  agent_client(agent_client const&) = delete;
  agent_client& operator=(agent_client const&) = delete;

  /// Where the agent is, and what its requests carry.
  [[nodiscard]] hf::endpoint const& endpoint() const noexcept { return endpoint_; }

  /// Asked when no connection can be made: has the machine ended? Then calls fail at once, with
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

  /// Performs a request once; every head is looked at for the agent's instance.
  void send(http::request const& rq, http::response_sink& sink) {
    learning_sink learning(*this, sink);
    transport_->send(rq, learning);
  }

  /// Performs a request once and buffers the answer up to `limit` bytes (`errc::too_large`). Throws
  /// for a status >= 400; `doing` begins the error's sentence.
  http::response call(std::string_view doing, http::request const& rq,
                      std::uint64_t limit = 64u << 20) {
    http::buffer_sink buffer(limit);
    send(rq, buffer);
    auto answer = std::move(buffer.answer());
    if (answer.status >= 400)
      throw detail::agent_answer_error(doing, answer);
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
    for (int left = 5;; --left) {
      std::optional<Failure> failure;
      try {
        return attempt();
      } catch (error const& e) {
        // At the first failure and at the last: to ask may cost a request.
        if ((left == 5 || left == 0) && is_end_of_machine(e))
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

  /// Whether a call failed because the machine is gone. Asks the launcher where that is possible.
  [[nodiscard]] bool is_end_of_machine(error const& why) const {
    return why.kind() == errc::connect_failed && machine_ended_ && machine_ended_();
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
      if (e.http_status() != 404)
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
    throw error(errc::unsupported,
                "the agent lacks the feature '" + feature + "'" +
                    (it != health.features.end() ? " (" + it->second + ")"
                                                 : "; it speaks only the common protocol"),
                {.where = hop::agent});
  }

 private:
  class learning_sink final : public http::response_sink {
   public:
    learning_sink(agent_client& owner, http::response_sink& next) : owner_(owner), next_(next) {}
    http::flow on_head(http::response_head const& head) override {
      if (auto const id = head.fields.find(wire::instance_header))
        owner_.learn(*id);
      return next_.on_head(head);
    }
    http::flow on_data(std::span<std::byte const> data) override { return next_.on_data(data); }

   private:
    agent_client& owner_;
    http::response_sink& next_;
  };

  agent_health ask(std::string_view route, call_options const& options) {
    auto const rq = make_request("GET", std::string(route), options);
    auto const answer = call_idempotent("ask the agent for its features", rq, 1u << 20);
    return detail::parse_health(wire::json::parse(answer.body, nullptr, false),
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
  std::function<bool()> machine_ended_;
  mutable std::mutex mutex_;
  std::optional<agent_health> health_;
  std::string instance_;
};

}  // namespace hf

#endif
