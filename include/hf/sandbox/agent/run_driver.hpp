#ifndef HF_SANDBOX_AGENT_RUN_DRIVER_HPP
#define HF_SANDBOX_AGENT_RUN_DRIVER_HPP

#include <hf/sandbox/agent/answer_error.hpp>
#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/event_stream.hpp>
#include <hf/sandbox/agent/input_pump.hpp>
#include <hf/sandbox/agent/run_start.hpp>
#include <hf/sandbox/agent/run_state.hpp>
#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/retry_pauses.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/sinks.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>

namespace hf::detail {

/// Moves a handle behind output that is no longer kept (the body of a 410), so that the error which
/// carries it goes on where output is kept.
inline void pass_over_gap(run_handle& handle, std::string const& body) {
  auto const j = parse_json<wire::json>(body, 1000);
  if (!j.is_object())
    return;
  if (auto const it = j.find("id"); it != j.end() && it->is_string() && handle.process_id.empty())
    if (auto const& id = it->get_ref<std::string const&>(); wire::is_process_id(id))
      handle.process_id = id;
  if (auto const it = j.find("first_seq"); it != j.end() && it->is_number_unsigned())
    if (auto const first = it->get<std::uint64_t>(); first > handle.last_seq)
      handle.last_seq = first - 1;
}

/// Follows one run to its end over as many connections as that takes.
///
/// Promises: events reach the state once and in order; a request to start the run is repeated only
/// when the agent is sure to recognise it (operation id, same agent instance) or when it can have
/// had no effect; without the agent's word that the command ended there is no result.
template <transport Transport>
class run_driver {
 public:
  /// `machine_ended` asks the launcher whether the machine is gone; empty: nobody knows.
  run_driver(agent_client<Transport>& agent, run_state<>& state,
             std::function<bool()> const& machine_ended)
      : agent_(agent), state_(state), machine_ended_(machine_ended), guard_(agent.instance()) {}

  /// Starts the run with this body of `POST /v1/exec` and follows it.
  void start(std::string body, input_pump<Transport>* pump, stop_token const& stop) {
    body_ = std::move(body);
    follow(pump, stop);
  }

  /// Follows a run that is known by its id or its operation id, from the record behind
  /// `handle().last_seq`.
  void attach(stop_token const& stop) { follow(nullptr, stop); }

  /// Whether the command may run, or have run.
  [[nodiscard]] bool may_run() const noexcept {
    return body_.empty() || state_.started() || state_.resumable() || guard_.may_have_arrived();
  }

  /// Kills the run's whole tree (its process group where the agent knows no runs); returns false
  /// when that could not be said to the agent.
  bool kill() {
    try {
      auto const options = last_words();
      if (!state_.resumable())
        find_run(agent_, state_.handle(), options);
      auto const& handle = state_.handle();
      auto rq = agent_.make_request(
          "POST", std::string(wire::processes_route) + "/" + handle.process_id + "/signal",
          options);
      address_to(rq, handle.agent_instance);
      rq.fields.set("Content-Type", "application/json");
      rq.body = R"({"scope":"tree","signal":9})";
      agent_.call_idempotent("kill", rq, 1u << 20);
      return true;
    } catch (error const& e) {
      // An agent without operation ids.
      if (!state_.resumable() && e.kind() == errc::not_found)
        return kill_group();
      // There is nothing to kill any more.
      return e.kind() == errc::op_unknown || e.kind() == errc::output_gone ||
             e.kind() == errc::sandbox_expired ||
             (state_.resumable() && e.http_status() == 404 && e.hop() == hop::agent);
    }
  }

  /// After `kill`: takes what the run still had to say, for a few seconds at most.
  void drain() {
    if (state_.finished() || !state_.resumable())
      return;
    try {
      perform(attach_request(last_words()), nullptr);
    } catch (error const&) {
      // The result then has what there was.
    }
  }

 private:
  using clock = std::chrono::steady_clock;

  void follow(input_pump<Transport>* pump, stop_token const& stop) {
    call_options options;
    options.stall_timeout = state_.options().stall_timeout;
    options.deadline = state_.options().deadline;
    options.stop = stop;
    retry_pauses pauses(std::chrono::milliseconds(50), std::chrono::milliseconds(2000),
                        options.deadline, stop);
    bool broken = false;
    clock::time_point broken_since{};
    auto next_machine_check = clock::now();
    for (;;) {
      attached_ = false;
      progressed_ = false;
      error why(errc::connection_lost, "the event stream ended before the command did",
                {.where = hop::agent, .may_have_reached_peer = true});
      try {
        if (!state_.resumable() && body_.empty())
          find_run(agent_, state_.handle(), options);
        perform(state_.resumable() ? attach_request(options) : start_request(options), pump);
        if (state_.finished() || gave_up())
          return;
      } catch (run_interrupted const&) {
        throw;
      } catch (error const& e) {
        // The connection may have broken behind the exit event.
        if (state_.finished() || gave_up())
          return;
        why = e;
      }
      if (!state_.resumable())
        guard_.failed(why);
      if (why.kind() == errc::cancelled)
        throw why;
      // Before anything is concluded: what ran on a machine that is gone runs no more.
      bool const by_agent = why.http_status() != 0 && why.hop() == hop::agent;
      if (machine_ended_ && !by_agent && clock::now() >= next_machine_check) {
        if (machine_ended_())
          machine_gone(why);
        next_machine_check = clock::now() + std::chrono::seconds(2);
      }
      if (!may_pass(why))
        refused(why);
      if (deadline_passed())
        out_of_time(why);
      check_resend(why, stop);

      // An agent that takes the call and says nothing must not keep this going for ever. One that
      // stayed for a while may have had nothing to say.
      if (attached_ && (progressed_ || clock::now() - attached_since_ >= worthwhile)) {
        broken = false;
        pauses.restart();
      }
      if (!std::exchange(broken, true))
        broken_since = clock::now();
      if (clock::now() - broken_since >= patience_with(why, state_.options().reconnect_budget))
        give_up(why);
      if (!pauses.wait(why))
        out_of_time(why);
    }
  }

  /// Performs one request and feeds the state; returns when the answer ended or the state gave up.
  void perform(http::request const& rq, input_pump<Transport>* pump) {
    event_stream decoder;
    http::stream_sink sink(
        [&](std::span<std::byte const> data) { return take(decoder, data, pump); },
        [&](http::response_head const& head) {
          if (head.status < 300)
            answered(head);
          return http::flow::more;
        });
    agent_.send(rq, sink);
    auto const& answer = sink.answer();
    if (answer.status < 300)
      return;
    if (answer.status == 410 && answer.fields.contains(wire::instance_header))
      pass_over_gap(state_.handle(), answer.body);
    throw agent_.answer_error("exec", answer);
  }

  void answered(http::response_head const& head) {
    auto& handle = state_.handle();
    std::string const instance(head.fields.get(wire::instance_header));
    if (!handle.agent_instance.empty() && handle.agent_instance != instance)
      throw state_.interrupted(errc::op_unknown,
                               "the agent was restarted and does not know the command any more",
                               {.http_status = head.status, .where = hop::agent});
    handle.agent_instance = instance;
    guard_.taken_by(instance);
    attached_ = true;
    attached_since_ = clock::now();
  }

  http::flow take(event_stream& decoder, std::span<std::byte const> data,
                  input_pump<Transport>* pump) {
    bool go_on = true;
    try {
      decoder.feed(data, [&](auto&& event) {
        auto const before = state_.progress();
        go_on = state_.take(std::move(event));
        progressed_ = progressed_ || state_.progress() != before;
        if (pump != nullptr && state_.resumable() && !state_.finished())
          pump->start(state_.handle());
        return go_on;
      });
    } catch (error const& e) {
      // The agent would say the same again.
      throw state_.interrupted(e.kind(), e.what(), e.details());
    }
    return go_on ? http::flow::more : http::flow::stop;
  }

  [[nodiscard]] http::request start_request(call_options const& options) const {
    auto rq = agent_.make_request("POST", std::string(wire::exec_route), options);
    rq.fields.set("Content-Type", "application/json");
    guard_.address(rq);
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
    address_to(rq, handle.agent_instance);
    return rq;
  }

  /// Throws when the run is not known and its start must not be sent again.
  void check_resend(error const& why, stop_token const& stop) {
    if (state_.resumable() || body_.empty())
      return;
    if (state_.started())
      throw state_.interrupted(
          errc::connection_lost,
          std::string("the connection broke and this agent cannot resume: ") + why.what(),
          why.details());
    auto& handle = state_.handle();
    if (guard_.may_have_arrived() && handle.agent_instance.empty())
      handle.agent_instance = guard_.instance();
    if (guard_.allows())
      return;
    try {
      auto options = last_words();
      options.stop = stop;
      find_run(agent_, handle, options);
    } catch (error const& e) {
      if (e.kind() == errc::cancelled)
        throw;
      throw state_.interrupted(
          errc::outcome_unknown,
          std::string("the connection broke before the agent answered, and this agent cannot tell "
                      "whether the command ran: ") +
              why.what(),
          why.details());
    }
  }

  [[noreturn]] void refused(error const& why) {
    if (!may_run() || why.kind() == errc::exec_failed)
      throw why;
    if (why.kind() == errc::sandbox_expired)
      machine_gone(why);
    throw state_.interrupted(why.http_status() == 404 ? errc::op_unknown : why.kind(), why.what(),
                             why.details());
  }

  [[noreturn]] void out_of_time(error const& why) {
    if (may_run())
      throw state_.interrupted(errc::request_timed_out,
                               "the call's deadline passed; the command may go on", why.details());
    throw error(
        errc::request_timed_out,
        std::string("exec: the deadline passed before the agent could be reached: ") + why.what(),
        why.details());
  }

  /// Kills by what an agent without operation ids can do: another command. Each command there has
  /// a process group of its own, with the number that its start told.
  bool kill_group() {
    if (state_.pid() <= 1 || !state_.handle().agent_instance.empty())
      return false;
    try {
      auto rq = agent_.make_request("POST", std::string(wire::exec_route), last_words());
      rq.fields.set("Content-Type", "application/json");
      rq.body = R"({"cmd":"kill -9 -)" + std::to_string(state_.pid()) + "\"}";
      // That the group is gone already is as good.
      return agent_.call_idempotent("kill", rq, 1u << 20).body.find("\"exit\"") !=
             std::string::npos;
    } catch (error const&) {
      return false;
    }
  }

  [[noreturn]] void give_up(error const& why) {
    if (!may_run())
      throw why;
    throw state_.interrupted(errc::connection_lost,
                             std::string("the connection could not be made again: ") + why.what(),
                             why.details());
  }

  [[noreturn]] void machine_gone(error const& why) {
    if (!may_run())
      throw sandbox_ended_error(why.details());
    throw state_.interrupted(
        errc::sandbox_expired,
        std::string("the sandbox has ended, and the command with it: ") + why.what(),
        why.details());
  }

  [[nodiscard]] bool gave_up() const { return state_.thrown() != nullptr || state_.overflowed(); }
  [[nodiscard]] bool deadline_passed() const {
    auto const& deadline = state_.options().deadline;
    return deadline && clock::now() >= *deadline;
  }
  /// For what has to be said although the caller's stop has been requested: 5 s, and beyond the
  /// caller's deadline no more than one.
  [[nodiscard]] call_options last_words() const {
    call_options options;
    options.stall_timeout = std::chrono::milliseconds(5000);
    options.deadline = clock::now() + std::chrono::seconds(5);
    if (auto const& deadline = state_.options().deadline)
      options.deadline = (std::min)(*options.deadline,
                                    (std::max)(*deadline, clock::now() + std::chrono::seconds(1)));
    return options;
  }

  agent_client<Transport>& agent_;
  run_state<>& state_;
  std::function<bool()> const& machine_ended_;
  resend_guard guard_;
  /// The request that starts the run; empty: it was started elsewhere.
  std::string body_;
  /// An attachment of this length was no failure, even if it brought nothing.
  static constexpr std::chrono::seconds worthwhile{5};
  bool attached_ = false;
  clock::time_point attached_since_{};
  /// The attachment brought something that was not known.
  bool progressed_ = false;
};

}  // namespace hf::detail

#endif
