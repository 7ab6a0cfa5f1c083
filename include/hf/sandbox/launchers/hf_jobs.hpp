#ifndef HF_SANDBOX_LAUNCHERS_HF_JOBS_HPP
#define HF_SANDBOX_LAUNCHERS_HF_JOBS_HPP

#include <hf/sandbox/agent/agent_source.hpp>
#include <hf/sandbox/detail/owner.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport_ref.hpp>
#include <hf/sandbox/hub/job_streams.hpp>
#include <hf/sandbox/hub/jobs.hpp>
#include <hf/sandbox/hub/sandbox_job.hpp>
#include <hf/sandbox/hub/sandbox_request.hpp>
#include <hf/sandbox/hub/start_once.hpp>
#include <hf/sandbox/hub/telemetry.hpp>
#include <hf/sandbox/launchers/hf_jobs_options.hpp>
#include <hf/sandbox/launchers/hf_jobs_start.hpp>
#include <hf/sandbox/launchers/launcher.hpp>

#include <chrono>
#include <concepts>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hf {

/// Starts sandboxes as Hugging Face Jobs.
///
/// Every call blocks and talks to the Hub (`HF_ENDPOINT`) with the caller's token; failures carry
/// `hop::hub` and the Hub's request id. Calls may come from several threads at once. A transport
/// that was given to `launch` or `stop` must outlive the launcher, because usage events are sent
/// through it from a thread (see `hf_jobs_options::telemetry`); `basic_client` sees to that.
class hf_jobs_launcher {
 public:
  /// With these settings.
  template <std::same_as<hf_jobs_options> Options = hf_jobs_options>
  explicit hf_jobs_launcher(Options options = {}) : state_(new state<>(std::move(options))) {}

  /// Starts a job whose agent answers. Throws `launch_error` (`launch_failed`, `start_timed_out`)
  /// with the job's last lines, `unauthenticated`, `permission_denied`, `quota_exceeded`,
  /// `rate_limited`, `unsupported` (with the option's name), `cancelled`, `offline`; whatever it
  /// throws, no job is left running. `outcome_unknown` says that this could not be made sure.
  template <transport T>
  instance launch(T& through, launch_options const& options) {
    return launch_job(through, options);
  }

  /// Looks a sandbox up by "id" or "namespace/id"; also one that the official client made. Throws
  /// `not_found` for a job that does not exist or is no sandbox, `unsupported` for the host of
  /// pooled sandboxes and for a pooled id ("host.local").
  template <transport T>
  instance inspect(T& through, std::string const& id) {
    auto const at = locate(through, id);
    auto const job = state_of<T>()->api.inspect(through, at.name_space, at.job);
    require_dedicated(job);
    auto out = describe(job, id);
    if (!job.ended())
      out.endpoint = hub::agent_endpoint(job, state_of<T>()->api.hub_client());
    return out;
  }

  /// The dedicated sandboxes of the namespace that have not ended and carry all the labels. One
  /// whose listed URL must not be trusted with tokens has no endpoint, and says so in its message.
  template <transport T>
  std::vector<instance> list(T& through, label_filter const& filter) {
    auto labels = filter;
    labels[hub::sandbox_label] = "1";
    labels.emplace(hub::mode_label, "dedicated");
    auto const& own = state_of<T>()->options.name_space;
    auto const name_space = own.empty() ? default_namespace(through) : own;
    std::vector<instance> out;
    for (auto const& job :
         state_of<T>()->api.list(through, name_space, {"RUNNING", "SCHEDULING"}, labels))
      if (!job.label(hub::nonce_label).empty()) {
        auto machine = describe(job, own.empty() ? job.id : own + "/" + job.id);
        try {
          machine.endpoint = hub::agent_endpoint(job, state_of<T>()->api.hub_client());
        } catch (error const& untrusted) {
          if (untrusted.kind() != errc::protocol_error)
            throw;
          machine.message += std::string("; ") + untrusted.what();
        }
        out.push_back(std::move(machine));
      }
    return out;
  }

  /// Cancels the job. One that has ended, or does not exist, is not an error.
  template <transport T>
  void stop(T& through, std::string const& id) {
    stop(through, id, end_reason::user);
  }
  /// The same; the reason goes into the usage event.
  template <transport T>
  void stop(T& through, std::string const& id, end_reason reason) {
    stop_job(through, id, reason);
  }

  /// The last 100 lines that the job printed. While the job runs it takes 5 s without a new line to
  /// see their end, 10 s when it never stops printing.
  template <transport T>
  std::string logs(T& through, std::string const& id) {
    auto const at = locate(through, id);
    return hub::joined(hub::log_tail(state_of<T>()->api, through, at.name_space, at.job, 100));
  }
  /// Hands on every line that the job printed and prints, until it ends or `on_line` returns false.
  template <transport T>
  void follow_logs(T& through, std::string const& id,
                   std::function<bool(std::string const&)> const& on_line, stop_token stop = {}) {
    auto const at = locate(through, id);
    hub::follow_logs(state_of<T>()->api, through, at.name_space, at.job, on_line,
                     {std::move(stop), std::nullopt});
  }

  /// Hands on the job's resource use about once a second, until it ends or `on_sample` returns
  /// false.
  template <transport T>
  void metrics(T& through, std::string const& id,
               std::function<bool(hub::job_metrics const&)> const& on_sample,
               stop_token stop = {}) {
    auto const at = locate(through, id);
    hub::follow_metrics(state_of<T>()->api, through, at.name_space, at.job, on_sample,
                        {std::move(stop), std::nullopt});
  }

  /// The user's labels of a sandbox (without those that begin with "hf-sandbox").
  template <transport T>
  std::map<std::string, std::string> labels(T& through, std::string const& id) {
    auto const at = locate(through, id);
    auto found = state_of<T>()->api.inspect(through, at.name_space, at.job).labels;
    std::erase_if(found, [](auto const& label) { return is_reserved(label.first); });
    return found;
  }
  /// Replaces the user's labels of a sandbox; the reserved ones stay. Throws `invalid_argument` for
  /// reserved keys and for what the Hub does not accept.
  template <transport T>
  void labels(T& through, std::string const& id,
              std::map<std::string, std::string> const& replacement) {
    for (auto const& [key, value] : replacement)
      if (is_reserved(key))
        throw error(errc::invalid_argument,
                    "labels: keys that begin with 'hf-sandbox' are reserved: " + key);
    hub::check_labels(replacement);
    auto const at = locate(through, id);
    auto all = state_of<T>()->api.inspect(through, at.name_space, at.job).labels;
    std::erase_if(all, [](auto const& label) { return !is_reserved(label.first); });
    all.insert(replacement.begin(), replacement.end());
    state_of<T>()->api.set_labels(through, at.name_space, at.job, all);
  }

  /// What jobs can run on (`launch_options::flavor`) and what it costs.
  template <transport T>
  std::vector<hub::hardware> hardware(T& through) {
    return state_of<T>()->api.list_hardware(through);
  }

  /// Whom the token belongs to; asked once per token.
  template <transport T>
  hub::identity who_am_i(T& through) {
    return identify(through);
  }

 private:
  using clock = std::chrono::steady_clock;

  struct session {
    std::string id;
    clock::time_point started;
  };

  template <class Options = hf_jobs_options, class Api = hub::jobs, class Text = std::string,
            class Telemetry = hub::telemetry_sender<>>
  struct state {
    explicit state(Options how)
        : options(std::move(how)),
          api(hub::client(
              {options.token, options.endpoint, options.retries, options.tls, options.env})) {}

    Options options;
    Api api;
    std::mutex mutex;
    /// By the token's digest; nothing while somebody is asking.
    std::map<Text, std::optional<hub::identity>> identities;
    std::condition_variable identified;
    /// Of the sandboxes that were launched here, by job id.
    std::map<Text, session> sessions;
    Telemetry telemetry;
  };

  [[nodiscard]] static bool is_reserved(std::string const& label) {
    return label.compare(0, 10, hub::sandbox_label) == 0;
  }

  template <transport T, class Identity = hub::identity>
  [[nodiscard]] Identity identify(T& through, hub::call_limits const& limits = {}) {
    state_of<T>()->api.hub_client().require_online("find out whose token this is");
    auto const key = detail::sha256_hex(state_of<T>()->api.hub_client().token());
    auto& all = state_of<T>()->identities;
    {
      // Many sandboxes started at once ask the strictly limited route once.
      std::unique_lock lock(state_of<T>()->mutex);
      for (auto it = all.find(key); it != all.end(); it = all.find(key)) {
        if (it->second)
          return *it->second;
        state_of<T>()->identified.wait_for(lock, std::chrono::milliseconds(50));
        if (limits.stop.stop_requested())
          throw error(errc::cancelled, "finding out whose token this is was cancelled");
        if (limits.deadline && clock::now() >= *limits.deadline)
          throw error(errc::request_timed_out,
                      "the Hugging Face Hub does not say whose token this is", {.where = hop::hub});
      }
      all[key] = std::nullopt;
    }
    std::optional<Identity> found;
    auto const settle = [&] {
      std::lock_guard const lock(state_of<T>()->mutex);
      if (found)
        all[key] = found;
      else
        all.erase(key);
      state_of<T>()->identified.notify_all();
    };
    try {
      found = state_of<T>()->api.who_am_i(through, limits);
    } catch (...) {
      settle();
      throw;
    }
    settle();
    return *std::move(found);
  }

  template <transport T>
  [[nodiscard]] std::string default_namespace(T& through, hub::call_limits const& limits = {}) {
    return identify(through, limits).name;
  }

  template <transport T>
  [[nodiscard]] hub::sandbox_id locate(T& through, std::string const& id) {
    auto at = hub::parse_sandbox_id(id);
    if (at.name_space.empty())
      at.name_space = state_of<T>()->options.name_space;
    if (at.name_space.empty())
      at.name_space = default_namespace(through);
    return at;
  }

  template <class Job>
  static void require_dedicated(Job const& job) {
    if (job.label(hub::sandbox_label) != "1" || job.label(hub::nonce_label).empty())
      throw error(errc::not_found, "job " + job.id + " is not a sandbox", {.where = hop::hub});
    if (job.label(hub::mode_label) == "pool")
      throw error(errc::unsupported,
                  "job " + job.id +
                      " is the host of pooled sandboxes, which have ids of the form "
                      "'<host>.<local id>'; connecting to those is not supported yet");
  }

  /// All but the endpoint.
  template <class Job>
  [[nodiscard]] static instance describe(Job const& job, std::string const& id) {
    instance out;
    out.id = id;
    out.labels = job.labels;
    out.message = job.message.empty() ? job.stage : job.stage + ": " + job.message;
    out.phase = job.ended() ? phase::ended : job.running() ? phase::running : phase::starting;
    return out;
  }

  template <class T>
  [[nodiscard]] agent_source source() const {
    auto const& o = state_of<T>()->options;
    if (o.agent.what() != agent_source::kind::automatic)
      return o.agent;
    auto url = hub::value_of(o.env, "HF_SANDBOX_AGENT_URL");
    auto sha256 = hub::value_of(o.env, "HF_SANDBOX_AGENT_SHA256");
    if (url.empty() && sha256.empty())
      return agent_source::official();
    if (url.empty() || sha256.empty())
      throw error(errc::invalid_argument,
                  "HF_SANDBOX_AGENT_URL and HF_SANDBOX_AGENT_SHA256 must be set together");
    return agent_source::url(std::move(url), std::move(sha256));
  }

  template <transport T>
  instance launch_job(T& through, launch_options const& options) {
    auto const& hub = state_of<T>()->api.hub_client();
    auto const deadline = clock::now() + options.start_timeout;
    hub::call_limits const limits{options.stop, deadline};
    hub::check_launch_options(options);
    auto const agent = source<T>();
    hub.require_online("start a sandbox");
    auto const token = hub.token();
    auto request = hub::make_sandbox_request(options, agent, hub.endpoint(), token);

    auto name_space =
        options.name_space.empty() ? state_of<T>()->options.name_space : options.name_space;
    bool const named = !name_space.empty();
    if (!named)
      name_space = detail::hf_jobs_start<nlohmann::json>::within_start_timeout(
          limits, [&] { return default_namespace(through, limits); });
    detail::hf_jobs_start<nlohmann::json> start(state_of<T>()->api, through, name_space, token,
                                                options.on_progress);
    auto ready =
        start.run(std::move(request), limits,
                  agent.what() == agent_source::kind::official ? wire::protocol_version : 2);
    auto const job_id = ready.id;
    if (named)
      ready.id = name_space + "/" + ready.id;
    report_created(through, job_id, options);
    return ready;
  }

  template <transport T>
  void stop_job(T& through, std::string const& id, end_reason reason) {
    auto const at = locate(through, id);
    hub::call_limits limits;
    limits.deadline = clock::now() + std::chrono::seconds(60);
    state_of<T>()->api.cancel(through, at.name_space, at.job, limits);
    report_ended(through, at.job, reason);
  }

  template <class T>
  [[nodiscard]] bool telemetry_on() const {
    return state_of<T>()->options.telemetry && hub::telemetry_allowed(state_of<T>()->options.env);
  }

  template <transport T>
  void report_created(T& through, std::string const& job, launch_options const& options) noexcept {
    try {
      if (!telemetry_on<T>())
        return;
      session const made{detail::random_hex(16), clock::now()};
      {
        std::lock_guard const lock(state_of<T>()->mutex);
        state_of<T>()->sessions[job] = made;
      }
      state_of<T>()->telemetry.send(
          through, state_of<T>()->api.hub_client().endpoint(), state_of<T>()->options.tls,
          hub::create_event(made.id, options.flavor.empty() ? hub::default_flavor : options.flavor,
                            options.timeout.value_or(hub::default_timeout),
                            options.forward_hf_token));
    } catch (...) {
      // Usage events never fail a call.
    }
  }

  template <transport T>
  void report_ended(T& through, std::string const& job, end_reason reason) noexcept {
    try {
      session ended;
      {
        std::lock_guard const lock(state_of<T>()->mutex);
        auto const it = state_of<T>()->sessions.find(job);
        if (it == state_of<T>()->sessions.end())
          return;
        ended = std::move(it->second);
        state_of<T>()->sessions.erase(it);
      }
      if (!telemetry_on<T>())
        return;
      auto const lived =
          std::chrono::duration_cast<std::chrono::seconds>(clock::now() - ended.started);
      state_of<T>()->telemetry.send(
          through, state_of<T>()->api.hub_client().endpoint(), state_of<T>()->options.tls,
          hub::terminate_event(ended.id, lived,
                               reason == end_reason::user         ? "user"
                               : reason == end_reason::destructor ? "destructor"
                                                                  : "atexit"));
      // Exit handlers are the last chance: the launcher itself may never be destroyed.
      if (reason == end_reason::atexit)
        state_of<T>()->telemetry.flush_at_exit();
    } catch (...) {
      // As above.
    }
  }

  // Depends on the call's type, so that including this compiles nothing of what is behind it.
  template <class>
  [[nodiscard]] state<>* state_of() const noexcept {
    return state_.get();
  }

  detail::owner<state<>> state_;
};

}  // namespace hf

#endif
