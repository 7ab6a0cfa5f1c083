#ifndef HF_SANDBOX_AGENT_RUN_DRIVER_HPP
#define HF_SANDBOX_AGENT_RUN_DRIVER_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/event_stream.hpp>
#include <hf/sandbox/agent/input_pump.hpp>
#include <hf/sandbox/agent/run_state.hpp>
#include <hf/sandbox/detail/backoff.hpp>
#include <hf/sandbox/detail/sleep.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace hf::detail {

/// Follows one run to its end over as many connections as that takes.
///
/// Promises: events reach the state once and in order; a request to start the run is repeated only
/// when the agent is sure to recognise it (operation id, same agent instance) or when no byte of it
/// can have arrived; without the agent's word that the command ended there is no result.
template <transport Transport>
class run_driver {
 public:
  /// `machine_ended` asks the launcher whether the machine is gone; empty: nobody knows.
  run_driver(agent_client<Transport>& agent, run_state& state,
             std::function<bool()> const& machine_ended)
      : agent_(agent), state_(state), machine_ended_(machine_ended) {}

  /// Starts the run with this body of `POST /v1/exec` and follows it.
  void start(std::string body, input_pump<Transport>* pump, stop_source& fail_run) {
    body_ = std::move(body);
    // Before the first send: what other calls learn later may be the agent that came after it.
    first_sent_to_ = agent_.instance();
    follow(pump, fail_run);
  }

  /// Follows a run that is known by its id or its operation id, from the record behind
  /// `handle().last_seq`.
  void attach(stop_source& fail_run) {
    if (!state_.resumable() && !find_by_operation())
      throw state_.interrupted(errc::op_unknown, "the agent does not know this operation");
    follow(nullptr, fail_run);
  }

  /// Kills the run's whole tree; returns false when that could not be said to the agent.
  bool kill() {
    if (!state_.resumable() && !find_by_operation())
      return false;
    auto options = last_words();
    auto rq = agent_.make_request(
        "POST", std::string(wire::processes_route) + "/" + state_.handle().process_id + "/signal",
        options);
    rq.fields.set("Content-Type", "application/json");
    rq.body = R"({"scope":"tree","signal":9})";
    try {
      agent_.call_idempotent("kill", rq, 1u << 20);
      return true;
    } catch (error const& e) {
      return e.http_status() == 404 || e.http_status() == 409;
    }
  }

  /// After `kill`: takes what the run still had to say, for a few seconds at most.
  void drain() {
    if (state_.finished() || !state_.resumable())
      return;
    try {
      auto rq = attach_request(last_words());
      perform(rq, nullptr);
    } catch (error const&) {
      // The result then has what there was.
    }
  }

 private:
  using clock = std::chrono::steady_clock;

  void follow(input_pump<Transport>* pump, stop_source& fail_run) {
    backoff pauses(std::chrono::milliseconds(50), std::chrono::milliseconds(2000));
    bool broken = false;
    clock::time_point broken_since{};
    auto next_machine_check = clock::now();
    bool resend = false;
    for (;;) {
      call_options options;
      options.stall_timeout = state_.options().stall_timeout;
      options.deadline = state_.options().deadline;
      options.stop = fail_run.get_token();
      bool const attaching = state_.resumable();
      auto rq = attaching ? attach_request(options) : start_request(options, resend);
      attached_ = false;
      error why(errc::connection_lost, "the event stream ended before the command did",
                {.where = hop::agent, .may_have_reached_peer = true});
      try {
        perform(rq, pump);
        if (state_.finished() || gave_up())
          return;
      } catch (error const& e) {
        if (e.kind() == errc::cancelled)
          throw;
        if (e.http_status() != 0 && !passing_status(e.http_status())) {
          if (attaching)
            throw state_.interrupted(lost_code(e), e.what(), e.details());
          throw;
        }
        why = e;
      }
      if (deadline_passed())
        throw state_.interrupted(errc::request_timed_out,
                                 "the call's deadline passed; the command goes on", why.details());

      if (attached_) {
        broken = false;
        pauses = backoff(std::chrono::milliseconds(50), std::chrono::milliseconds(2000));
      }
      if (!std::exchange(broken, true))
        broken_since = clock::now();
      resend = decide(why) || resend;
      if (clock::now() - broken_since >= state_.options().reconnect_budget)
        give_up(why);
      if (machine_ended_ && clock::now() >= next_machine_check) {
        if (machine_ended_())
          machine_gone(why);
        next_machine_check = clock::now() + std::chrono::seconds(2);
      }
      auto pause = pauses.next();
      if (double const after = why.details().retry_after_s; after > 0)
        pause =
            std::chrono::milliseconds(static_cast<std::int64_t>((std::min)(after, 30.0) * 1000));
      if (!sleep_for(pause, fail_run.get_token()))
        throw error(errc::cancelled, "cancelled between two attempts");
    }
  }

  /// Performs one request and feeds the state; returns when the answer ended or the state gave up.
  void perform(http::request const& rq, input_pump<Transport>* pump) {
    sink answer(*this, pump);
    agent_.send(rq, answer);
    if (answer.refused())
      throw agent_answer_error("exec", answer.answer());
  }

  class sink final : public http::response_sink {
   public:
    sink(run_driver& driver, input_pump<Transport>* pump) : driver_(driver), pump_(pump) {}

    http::flow on_head(http::response_head const& head) override {
      answer_.status = head.status;
      answer_.fields = head.fields;
      if (refused())
        return http::flow::more;
      auto& handle = driver_.state_.handle();
      std::string const instance(head.fields.get(wire::instance_header));
      if (!handle.agent_instance.empty() && handle.agent_instance != instance)
        throw driver_.state_.interrupted(
            errc::op_unknown, "the agent was restarted and does not know the command any more",
            {.http_status = head.status, .where = hop::agent});
      handle.agent_instance = instance;
      driver_.attached_ = true;
      return http::flow::more;
    }

    http::flow on_data(std::span<std::byte const> data) override {
      if (refused()) {
        auto const room = (std::min)(data.size(), std::size_t{65536} - answer_.body.size());
        answer_.body.append(reinterpret_cast<char const*>(data.data()), room);
        return answer_.body.size() < 65536 ? http::flow::more : http::flow::stop;
      }
      bool go_on = true;
      decoder_.feed(data, [&](wire::event&& event) {
        go_on = driver_.state_.take(std::move(event));
        if (pump_ != nullptr && driver_.state_.resumable() && !driver_.state_.finished())
          pump_->start(driver_.state_.handle().process_id);
        return go_on;
      });
      return go_on ? http::flow::more : http::flow::stop;
    }

    [[nodiscard]] bool refused() const noexcept { return answer_.status >= 400; }
    [[nodiscard]] http::response const& answer() const noexcept { return answer_; }

   private:
    run_driver& driver_;
    input_pump<Transport>* pump_;
    http::response answer_;
    event_stream decoder_;
  };

  [[nodiscard]] http::request start_request(call_options const& options, bool resend) const {
    auto rq = agent_.make_request("POST", std::string(wire::exec_route), options);
    rq.fields.set("Content-Type", "application/json");
    auto const& handle = state_.handle();
    if (resend && !handle.agent_instance.empty())
      rq.fields.set(std::string(wire::instance_header), handle.agent_instance);
    rq.body = body_;
    return rq;
  }

  [[nodiscard]] http::request attach_request(call_options const& options) const {
    auto const& handle = state_.handle();
    auto rq =
        agent_.make_request("GET",
                            std::string(wire::processes_route) + "/" + handle.process_id +
                                "/events?after=" + std::to_string(handle.last_seq) + "&follow=1",
                            options);
    if (!handle.agent_instance.empty())
      rq.fields.set(std::string(wire::instance_header), handle.agent_instance);
    return rq;
  }

  /// Whether the next start request is a resend; throws when there must not be one.
  bool decide(error const& why) {
    if (state_.resumable())
      return false;
    if (state_.started())
      throw state_.interrupted(
          errc::connection_lost,
          std::string("the connection broke and this agent cannot resume: ") + why.what(),
          why.details());
    // Refusals by the agent itself had no effect; a gateway's 502 or 504 tells nothing.
    bool const no_effect =
        !why.may_have_reached_peer() || why.http_status() == 429 || why.http_status() == 503;
    if (no_effect)
      return false;
    auto& handle = state_.handle();
    if (handle.agent_instance.empty())
      handle.agent_instance = first_sent_to_;
    if (!handle.agent_instance.empty())
      return true;
    if (find_by_operation())
      return false;
    throw state_.interrupted(errc::outcome_unknown,
                             std::string("the connection broke before the agent answered, and this "
                                         "agent cannot tell whether the command ran: ") +
                                 why.what(),
                             why.details());
  }

  /// Asks the agent for the run of our operation id; false when it knows none.
  template <class Json = wire::json>
  bool find_by_operation() {
    auto& handle = state_.handle();
    if (handle.operation_id.empty())
      return false;
    try {
      auto rq = agent_.make_request("GET", std::string(wire::ops_route) + "/" + handle.operation_id,
                                    last_words());
      auto const answer = agent_.call_idempotent("look for the run", rq, 1u << 20);
      auto const j = Json::parse(answer.body, nullptr, false);
      auto const it = j.is_object() ? j.find("id") : j.end();
      if (!j.is_object() || it == j.end() || !it->is_string())
        return false;
      handle.process_id = it->template get<std::string>();
      if (handle.agent_instance.empty())
        handle.agent_instance = std::string(answer.fields.get(wire::instance_header));
      return true;
    } catch (error const&) {
      return false;
    }
  }

  [[noreturn]] void give_up(error const& why) {
    if (!state_.started() && !state_.resumable() && !why.may_have_reached_peer())
      throw why;
    throw state_.interrupted(errc::connection_lost,
                             std::string("the connection could not be made again: ") + why.what(),
                             why.details());
  }

  [[noreturn]] void machine_gone(error const& why) {
    if (!state_.started() && !state_.resumable() && !why.may_have_reached_peer())
      throw sandbox_ended_error(why.details());
    throw state_.interrupted(errc::connection_lost,
                             std::string("the sandbox ended while the command ran: ") + why.what(),
                             why.details());
  }

  static bool passing_status(int status) {
    return status == 408 || status == 429 || status == 502 || status == 503 || status == 504;
  }
  static errc lost_code(error const& e) {
    return e.http_status() == 404 ? errc::op_unknown : e.kind();
  }
  [[nodiscard]] bool gave_up() const { return state_.thrown() != nullptr || state_.overflowed(); }
  [[nodiscard]] bool deadline_passed() const {
    auto const& deadline = state_.options().deadline;
    return deadline && clock::now() >= *deadline;
  }
  static call_options last_words() {
    call_options options;
    options.stall_timeout = std::chrono::milliseconds(5000);
    options.deadline = clock::now() + std::chrono::seconds(5);
    return options;
  }

  agent_client<Transport>& agent_;
  run_state& state_;
  std::function<bool()> const& machine_ended_;
  std::string body_;
  std::string first_sent_to_;
  bool attached_ = false;
};

}  // namespace hf::detail

#endif
