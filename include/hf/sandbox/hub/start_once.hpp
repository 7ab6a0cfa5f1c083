#ifndef HF_SANDBOX_HUB_START_ONCE_HPP
#define HF_SANDBOX_HUB_START_ONCE_HPP

#include <hf/sandbox/hub/jobs.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

namespace hf::hub {

/// The label by which a job is found whose start was not answered.
inline constexpr char const* operation_label = "hf-sandbox-op";

/// A started job.
struct started_job {
  /// The job.
  job_info job = {};
  /// An attempt before this one was not answered: it may still turn into a second job.
  bool ambiguous = false;
};

/// Ends every job that carries the operation id but the one with the id `except`. For clearing up:
/// has its own time limit and cannot be cancelled. Returns how many there were; throws what a
/// failed call threw.
template <class Json>
int cancel_operation(basic_jobs<Json> const& api, http::transport_ref through,
                     std::string const& name_space, std::string const& operation,
                     std::string const& except = {}) {
  call_limits limits;
  limits.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  int found = 0;
  for (auto const& job :
       api.list(through, name_space, {}, {{operation_label, operation}}, limits)) {
    if (job.id == except)
      continue;
    ++found;
    if (!job.ended())
      api.cancel(through, name_space, job.id, limits);
  }
  return found;
}

/// Starts a job exactly once. The request must carry `operation_label` with an id of its own.
///
/// A refusal that cannot have started anything is repeated when it is transient (429, no
/// connection). When nobody can tell whether the job was started (no answer, 5xx), the Hub is asked
/// for jobs with that id: one that is there is adopted, else the start is tried again. Whatever
/// fails in the end, jobs with that id are cancelled; if not even that can be done,
/// `errc::outcome_unknown` names the label.
template <class Json>
class job_starter {
 public:
  /// For one request; `through` has to outlive this.
  job_starter(basic_jobs<Json> const& api, http::transport_ref through, std::string name_space,
              job_request request)
      : api_(api),
        through_(through),
        name_space_(std::move(name_space)),
        request_(std::move(request)),
        operation_(request_.labels.at(operation_label)) {}

  /// Starts it. Blocks until it has been started or that is given up.
  [[nodiscard]] started_job start(call_limits const& limits) {
    retry_loop tries(api_.hub_client().settings().retries, limits.deadline);
    for (;;) {
      try {
        return {api_.start(through_, name_space_, request_, limits), unanswered_ > 0};
      } catch (error const& failure) {
        if (is_refusal(failure)) {
          if (is_transient(failure) && wait(tries, failure, limits))
            continue;
          give_up(failure);
        }
        ++unanswered_;
        if (failure.kind() == errc::cancelled)
          give_up(failure);
        if (auto found = find(failure, limits))
          return {*std::move(found), true};
        if (!wait(tries, failure, limits))
          give_up(failure);
      } catch (...) {
        undo_quietly();
        throw;
      }
    }
  }

 private:
  using clock = std::chrono::steady_clock;

  /// Whether the failure proves that no job was started.
  [[nodiscard]] static bool is_refusal(error const& failure) noexcept {
    int const status = failure.http_status();
    if (status >= 400)
      return status < 500 && status != 408;
    return status == 0 && !failure.may_have_reached_peer() &&
           failure.kind() != errc::protocol_error && failure.kind() != errc::internal;
  }

  bool wait(retry_loop<retry_policy>& tries, error const& failure, call_limits const& limits) {
    try {
      return tries.wait(failure, limits.stop);
    } catch (error const& cancelled) {
      give_up(cancelled);
    }
  }

  /// Looks for the job: for a while when the Hub may still be at it, else a few times, because a
  /// new job may not be listed at once.
  std::optional<typename basic_jobs<Json>::job_type> find(error const& failure,
                                                          call_limits const& limits) {
    auto const& policy = api_.hub_client().settings().retries;
    auto const until = clock::now() + (failure.http_status() > 0 ? policy.first * 2 : policy.late);
    detail::backoff pauses(policy.first, policy.first * 2);
    try {
      for (;;) {
        for (auto const& job :
             api_.list(through_, name_space_, {}, {{operation_label, operation_}}, limits))
          return job;
        auto const next = clock::now() + pauses.next();
        if (next > until)
          return std::nullopt;
        if (!detail::sleep_until(next, limits.stop))
          throw error(errc::cancelled, "starting a job was cancelled");
      }
    } catch (error const& second) {
      give_up(second.kind() == errc::cancelled ? second : failure);
    }
  }

  /// Throws the failure, after everything that unanswered starts may have left was ended.
  [[noreturn]] void give_up(error const& failure) {
    if (unanswered_ == 0)
      throw failure;
    auto const& policy = api_.hub_client().settings().retries;
    auto const until = clock::now() + policy.late;
    detail::backoff pauses(policy.first, policy.first * 2);
    try {
      while (cancel_operation(api_, through_, name_space_, operation_) < unanswered_) {
        auto const next = clock::now() + pauses.next();
        if (next > until)
          break;
        detail::sleep_until(next, {});
      }
    } catch (error const& second) {
      auto details = failure.details();
      throw error(errc::outcome_unknown,
                  std::string(failure.what()) +
                      "; whether a job was started is not known, and clearing up failed (" +
                      second.what() + "): look for a job with the label " + operation_label + "=" +
                      operation_,
                  std::move(details));
    }
    throw failure;
  }

  void undo_quietly() noexcept {
    try {
      (void)cancel_operation(api_, through_, name_space_, operation_);
    } catch (...) {
      // The first failure is the one to report.
    }
  }

  basic_jobs<Json> const& api_;
  http::transport_ref through_;
  std::string name_space_;
  job_request request_;
  std::string operation_;
  /// Starts that may have left a job.
  int unanswered_ = 0;
};

/// `job_starter` as one call.
template <class Json>
[[nodiscard]] started_job start_once(basic_jobs<Json> const& api, http::transport_ref through,
                                     std::string const& name_space, job_request request,
                                     call_limits const& limits = {}) {
  return job_starter(api, through, name_space, std::move(request)).start(limits);
}

}  // namespace hf::hub

#endif
