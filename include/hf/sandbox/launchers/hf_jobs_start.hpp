#ifndef HF_SANDBOX_LAUNCHERS_HF_JOBS_START_HPP
#define HF_SANDBOX_LAUNCHERS_HF_JOBS_START_HPP

#include <hf/sandbox/agent/health.hpp>
#include <hf/sandbox/agent/ready.hpp>
#include <hf/sandbox/detail/backoff.hpp>
#include <hf/sandbox/detail/printable.hpp>
#include <hf/sandbox/detail/sleep.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/hub/job_streams.hpp>
#include <hf/sandbox/hub/jobs.hpp>
#include <hf/sandbox/hub/sandbox_job.hpp>
#include <hf/sandbox/hub/sandbox_request.hpp>
#include <hf/sandbox/hub/start_once.hpp>
#include <hf/sandbox/launchers/launcher.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hf::detail {

/// One start of a sandbox job: begins it, waits for its agent, and undoes it when anything fails.
template <class Json>
class hf_jobs_start {
 public:
  hf_jobs_start(hub::basic_jobs<Json> const& api, http::transport_ref through,
                std::string name_space, std::string hf_token,
                std::function<void(std::string const&)> on_progress)
      : api_(api),
        once_(without_repetition(api)),
        through_(through),
        name_space_(std::move(name_space)),
        hf_token_(std::move(hf_token)),
        on_progress_(std::move(on_progress)) {}

  /// Returns a machine whose agent answers, or throws with no job left.
  [[nodiscard]] instance run(hub::sandbox_request request, hub::call_limits const& limits,
                             int minimum_protocol) {
    nonce_ = request.nonce;
    agent_token_ = hub::agent_token(hf_token_, nonce_);
    auto started = within_start_timeout(
        limits, [&] { return hub::start_once(api_, through_, name_space_, request.job, limits); });
    // A create answer may leave the labels out.
    started.job.labels.insert(request.job.labels.begin(), request.job.labels.end());
    job_id_ = started.job.id;
    stage_ = started.job.stage;
    try {
      progress("job " + started.job.id + " was accepted");
      auto ready = wait(started.job, limits, minimum_protocol);
      if (started.ambiguous)
        (void)hub::cancel_operation(api_, through_, name_space_, request.operation, ready.id);
      return ready;
    } catch (error const& failure) {
      undo(failure, started, request.operation);
    } catch (...) {
      (void)cancel_all(started, request.operation);
      throw;
    }
  }

  /// What comes before the job's acceptance; runs out of time as `start_timed_out`.
  template <class Step>
  static auto within_start_timeout(hub::call_limits const& limits, Step&& step)
      -> decltype(step()) {
    try {
      return step();
    } catch (error const& failure) {
      if (failure.kind() != errc::request_timed_out || !expired(limits))
        throw;
      throw launch_error(
          errc::start_timed_out,
          std::string("the job was not accepted within start_timeout: ") + failure.what(), "start",
          {}, failure.details());
    }
  }

 private:
  using clock = std::chrono::steady_clock;
  using milliseconds = std::chrono::milliseconds;

  static constexpr milliseconds first_pause{100};
  static constexpr milliseconds look_interval{2000};
  static constexpr milliseconds probe_timeout{5000};

  void progress(std::string const& line) const {
    if (on_progress_)
      on_progress_(line);
  }

  /// The same API, for looks that are repeated anyway.
  [[nodiscard]] static hub::basic_jobs<Json> without_repetition(hub::basic_jobs<Json> const& api) {
    auto how = api.hub_client().settings();
    how.retries.attempts = 1;
    return hub::basic_jobs<Json>(hub::basic_client<Json>(std::move(how)));
  }

  [[nodiscard]] static bool expired(hub::call_limits const& limits) {
    return limits.deadline && clock::now() >= *limits.deadline;
  }

  /// Polls the agent, and the job at most every 2 s.
  [[nodiscard]] instance wait(hub::job_info job, hub::call_limits const& limits,
                              int minimum_protocol) {
    backoff pauses(first_pause, milliseconds(1000));
    auto next_look = clock::now() + look_interval;
    int refusals = 0;
    for (;;) {
      if (job.ended())
        throw error(errc::launch_failed,
                    "job " + job.id + " ended before its agent answered: " + describe(job),
                    {.where = hop::hub});
      auto to = hub::agent_endpoint(job, api_.hub_client());
      if (to) {
        // Signed at the start, also when the Hugging Face token has been rotated since.
        to->headers.set(std::string(wire::token_header), agent_token_);
        if (auto health = probe(*to, job, limits, refusals)) {
          check_protocol(*health, minimum_protocol);
          progress("the agent of job " + job.id + " answers");
          instance out;
          out.id = job.id;
          out.phase = phase::running;
          out.endpoint = *to;
          out.labels = std::move(job.labels);
          out.message = job.stage;
          out.health = std::move(health);
          return out;
        }
      }
      if (expired(limits))
        throw error(errc::start_timed_out, "the agent of job " + job.id +
                                               " did not answer within start_timeout; the job is " +
                                               describe(job));
      if (clock::now() >= next_look) {
        auto const before = job.stage;
        auto const pause = look(job, limits);
        stage_ = job.stage;
        next_look = clock::now() + pause;
        if (job.stage != before)
          progress("job " + job.id + " is " + describe(job));
        if (job.ended())
          continue;
      }
      auto until = clock::now() + (to ? (std::max)(pauses.next(), first_pause) : look_interval);
      until = (std::min)(until, next_look);
      if (limits.deadline)
        until = (std::min)(until, *limits.deadline);
      if (!sleep_until(until, limits.stop))
        throw error(errc::cancelled, "starting a sandbox was cancelled");
    }
  }

  /// Asks the agent once; nothing while it is not up. A proxy that keeps refusing the credential of
  /// a running job will not change its mind.
  [[nodiscard]] std::optional<agent_health> probe(endpoint const& to, hub::job_info const& job,
                                                  hub::call_limits const& limits, int& refusals) {
    auto timeout = probe_timeout;
    if (limits.deadline)
      timeout = (std::min)(
          timeout, std::chrono::duration_cast<milliseconds>(*limits.deadline - clock::now()));
    if (timeout.count() <= 0)
      return std::nullopt;
    try {
      auto health = probe_health(through_, to, timeout, limits.stop);
      refusals = 0;
      return health;
    } catch (error const& failure) {
      bool const refused =
          failure.kind() == errc::unauthenticated || failure.kind() == errc::permission_denied;
      if (!refused || (job.running() && ++refusals >= 5))
        throw;
      return std::nullopt;
    }
  }

  /// Looks at the job once; leaves it as it was when the Hub cannot be reached for the moment: that
  /// is no reason to give up, nor to keep the agent waiting. Returns the pause until the next look.
  [[nodiscard]] milliseconds look(hub::job_info& job, hub::call_limits limits) {
    auto const soon = clock::now() + look_interval;
    if (!limits.deadline || *limits.deadline > soon)
      limits.deadline = soon;
    try {
      auto now = once_.inspect(through_, name_space_, job.id, limits);
      now.labels.insert(job.labels.begin(), job.labels.end());
      job = std::move(now);
      return look_interval;
    } catch (error const& failure) {
      if (!hub::is_transient(failure))
        throw;
      return hub::pause_after(failure, look_interval, api_.hub_client().settings().retries);
    }
  }

  static void check_protocol(agent_health const& health, int minimum) {
    if (health.protocol < minimum)
      throw error(errc::unsupported, "the agent in the job speaks protocol " +
                                         std::to_string(health.protocol) + ", at least " +
                                         std::to_string(minimum) + " is needed");
  }

  [[nodiscard]] static std::string describe(hub::job_info const& job) {
    return job.message.empty() ? job.stage : job.stage + " (" + job.message + ")";
  }

  /// Cancels what was started; the reason why that failed, or an empty text.
  [[nodiscard]] std::string cancel_all(hub::started_job const& started,
                                       std::string const& operation) {
    hub::call_limits limits;
    limits.deadline = clock::now() + std::chrono::seconds(30);
    try {
      api_.cancel(through_, name_space_, job_id_, limits);
      if (started.ambiguous)
        (void)hub::cancel_operation(api_, through_, name_space_, operation);
      return {};
    } catch (std::exception const& failure) {
      return failure.what();
    }
  }

  [[noreturn]] void undo(error const& failure, hub::started_job const& started,
                         std::string const& operation) {
    auto const not_cancelled = cancel_all(started, operation);
    auto kind = failure.kind();
    if (kind == errc::cancelled && not_cancelled.empty())
      throw failure;
    std::string message = failure.what();
    if (!not_cancelled.empty())
      message += "; and job " + job_id_ + " could not be cancelled: " + not_cancelled;
    throw launch_error(kind, without_secrets(std::move(message), {hf_token_, agent_token_}), stage_,
                       kind == errc::cancelled ? std::string() : last_lines(), failure.details());
  }

  /// The job's last 20 lines, without secrets; empty when they cannot be had.
  [[nodiscard]] std::string last_lines() const {
    hub::call_limits limits;
    limits.deadline = clock::now() + std::chrono::seconds(10);
    try {
      auto text = hub::joined(hub::log_tail(api_, through_, name_space_, job_id_, 20, limits,
                                            {.quiet = milliseconds(2000)}));
      return without_secrets(std::move(text), {hf_token_, agent_token_});
    } catch (error const&) {
      return {};
    }
  }

  hub::basic_jobs<Json> const& api_;
  hub::basic_jobs<Json> once_;
  http::transport_ref through_;
  std::string name_space_;
  std::string hf_token_;
  std::function<void(std::string const&)> on_progress_;
  std::string nonce_;
  std::string agent_token_;
  std::string job_id_;
  std::string stage_;
};

}  // namespace hf::detail

#endif
