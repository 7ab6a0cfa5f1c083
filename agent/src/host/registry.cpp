#include "host/registry.hpp"

#include "detail/landlock_abi.hpp"
#include "detail/random_id.hpp"
#include "detail/run_blocking.hpp"
#include "host/user_processes.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace hf::agent {
namespace {

// Each deletion can block for as long as its home takes to be removed.
constexpr std::size_t housekeeping_threads = 4;
constexpr std::chrono::milliseconds kill_patience(2000);
constexpr std::chrono::seconds eviction_interval(1);
// Of the memory and disk that the output of all commands may take, the share of one sandbox.
constexpr std::uint64_t budget_share = 8;

// Bounds that hold for every sandbox, beside the processes and memory of its request.
constexpr std::uint64_t most_files = 4096;
constexpr std::uint64_t largest_file = std::uint64_t{8} << 30;
constexpr std::uint64_t most_cpu_seconds = 86'400;
// A sandbox's commands give way to the agent, and end before it when memory runs out.
constexpr int command_nice = 5;
constexpr int command_oom_score = 500;

// Thrown at start; says what is missing and what would accept its absence.
host_settings checked(host_settings settings) {
  if (::geteuid() != 0)
    throw std::runtime_error("SBX_HOST_MODE=1 needs root: every sandbox has a user id of its own");
  int const abi = landlock_abi();
  if (abi < settings.min_landlock_abi && !settings.allow_unconfined) {
    std::string missing;
    auto const all = landlock_features(settings.min_landlock_abi);
    for (std::size_t i = static_cast<std::size_t>(abi); i < all.size(); ++i)
      missing += (missing.empty() ? "" : ", ") + all[i];
    throw std::runtime_error(
        "this kernel has Landlock ABI " + std::to_string(abi) + ", and " +
        std::to_string(settings.min_landlock_abi) +
        " is required for the documented isolation guarantees (missing: " + missing +
        "); --allow-unconfined accepts sandboxes kept apart by their user ids only");
  }
  return settings;
}

http_error creation_failed(std::string const& why) {
  return {500, "internal", "failed to create sandbox: " + why};
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

sandbox_registry::sandbox_registry(context& shared, exec_core& core, host_settings settings)
    : shared_(shared),
      core_(core),
      settings_(checked(std::move(settings))),
      homes_(settings_.homes),
      uids_(uids_of_others()),
      housekeeping_(housekeeping_threads) {}

std::shared_ptr<sandbox> sandbox_registry::find(std::string_view id) const {
  auto const it = live_.find(std::string(id));
  return it == live_.end() ? nullptr : it->second;
}

std::vector<std::shared_ptr<sandbox>> sandbox_registry::list() const {
  std::vector<std::shared_ptr<sandbox>> all;
  for (auto const& one : live_)
    all.push_back(one.second);
  std::sort(all.begin(), all.end(), [](auto const& a, auto const& b) {
    return std::pair(a->created_at_ms, a->id) < std::pair(b->created_at_ms, b->id);
  });
  return all;
}

asio::awaitable<std::vector<std::shared_ptr<sandbox>>> sandbox_registry::create(
    wire::create_sandboxes_request const& request) {
  std::vector<std::shared_ptr<sandbox>> made;
  std::optional<http_error> failed;
  auto const wanted =
      static_cast<std::size_t>((std::min)(request.count, wire::most_sandboxes_at_once));
  while (made.size() < wanted && live_.size() + being_made_ < settings_.capacity) {
    auto const uid = uids_.take();
    if (!uid)
      break;
    ++being_made_;
    try {
      if (auto const box = co_await create_one(request, *uid))
        made.push_back(box);
    } catch (http_error const& error) {
      failed = error;
    }
    --being_made_;
    if (failed)
      break;
  }
  if (!failed)
    co_return made;
  for (auto const& box : made)
    co_await remove(box);
  throw *failed;
}

asio::awaitable<std::shared_ptr<sandbox>> sandbox_registry::create_one(
    wire::create_sandboxes_request const& request, uid_t uid) {
  std::string const id = random_id().substr(0, 16);
  struct prepared {
    unique_fd home = {};
    unique_fd ruleset = {};
    std::string failure = {};
    bool clean = false;
    bool taken = false;
  };
  auto const prepare = [this, &id, uid] {
    prepared made;
    try {
      // Somebody else's process has come by this id since the agent started.
      made.taken = has_processes(uid);
      if (made.taken)
        return made;
      made.home = homes_.make(id, uid);
      try {
        made.ruleset = rules_.for_home(made.home.get());
      } catch (std::system_error const&) {
        if (!settings_.allow_unconfined)
          throw;
      }
    } catch (std::exception const& error) {
      made.failure = error.what();
      made.clean = homes_.remove(id).empty();
    }
    return made;
  };
  prepared made = co_await run_blocking(housekeeping_, prepare);
  // An id that is not given back is never used again.
  if (made.taken)
    co_return nullptr;
  if (!made.failure.empty()) {
    if (made.clean)
      uids_.give_back(uid);
    throw creation_failed(made.failure);
  }

  auto charged = std::make_shared<sandbox::account>();
  charged->budget.memory_limit = core_.budget.memory_limit / budget_share;
  charged->budget.disk_limit = core_.budget.disk_limit / budget_share;
  charged->budget.whole = &core_.budget;
  std::string const home = homes_.path_of(id);
  auto box = std::make_shared<sandbox>(core_, std::move(charged),
                                       base_for(id, home, uid, made.ruleset.get(), request));
  box->id = id;
  box->token = random_id() + random_id();
  box->uid = uid;
  box->created_at_ms = now_ms();
  box->idle_timeout =
      std::chrono::seconds((std::min)(request.idle_timeout_secs, std::int64_t{3'155'760'000}));
  auto files = std::make_shared<file_root>();
  files->home = std::move(made.home);
  files->home_path = home;
  files->owner = file_root::ids{uid, uid};
  files->file_mode = 0600;
  files->directory_mode = 0700;
  box->files = std::move(files);
  box->ruleset = std::move(made.ruleset);
  box->presence.emplace(shared_.activity.hold());
  live_.emplace(id, box);
  co_return box;
}

command_base sandbox_registry::base_for(std::string const& id, std::string const& home, uid_t uid,
                                        int ruleset,
                                        wire::create_sandboxes_request const& request) const {
  command_base base;
  std::map<std::string, std::string> environment = {
      {"PATH", home + "/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
      {"HOME", home},
      {"TMPDIR", home + "/.tmp"},
      {"USER", "sbx-" + id},
      {"LOGNAME", "sbx-" + id},
      {"SBX_SANDBOX_ID", id},
      {"SBX_PROXY_DIR", home + "/.sbx/proxy"}};
  for (auto const& [name, value] : request.env)
    environment[name] = value;
  for (auto const& [name, value] : environment)
    base.environment.push_back(name + "=" + value);
  base.cwd = home;
  base.user = identity{uid, uid, {}};
  base.may_choose_user = false;
  base.limits = {{RLIMIT_NPROC, static_cast<std::uint64_t>(request.max_procs)},
                 {RLIMIT_AS, static_cast<std::uint64_t>(request.max_mem_mb) << 20},
                 {RLIMIT_CORE, 0},
                 {RLIMIT_NOFILE, most_files},
                 {RLIMIT_FSIZE, largest_file},
                 {RLIMIT_CPU, most_cpu_seconds}};
  base.may_raise_limits = false;
  base.nice = command_nice;
  base.oom_score = command_oom_score;
  base.landlock_ruleset = ruleset;
  base.no_new_privileges = true;
  base.seccomp_filter = sandbox_syscall_filter();
  base.drop_capabilities = true;
  base.new_session = true;
  base.always_attributed = true;
  return base;
}

// Whether no process is left that is to become a command; they were killed.
asio::awaitable<bool> sandbox_registry::starts_over(exec_service const& commands) {
  asio::steady_timer pause(shared_.loop);
  auto const until = std::chrono::steady_clock::now() + kill_patience;
  while (!commands.starts_are_over()) {
    if (std::chrono::steady_clock::now() >= until)
      co_return false;
    pause.expires_after(std::chrono::milliseconds(1));
    co_await pause.async_wait(asio::use_awaitable);
  }
  co_return true;
}

asio::awaitable<std::string> sandbox_registry::remove(std::shared_ptr<sandbox> box) {
  if (live_.erase(box->id) == 0)
    co_return std::string();
  box->commands.close();
  bool const quiet = co_await starts_over(box->commands);
  auto const clean = [this, id = box->id, uid = box->uid] {
    std::string failure;
    try {
      if (!kill_processes_of(uid, kill_patience))
        failure = "processes of user id " + std::to_string(uid) + " are still alive";
    } catch (std::exception const& error) {
      failure = error.what();
    }
    auto const left = homes_.remove(id);
    if (!left.empty())
      failure += (failure.empty() ? "" : "; ") + left;
    return failure;
  };
  std::string const failure = co_await run_blocking(housekeeping_, clean);
  core_.children.collect();
  box->presence.reset();
  if (!quiet)
    co_return "a process that was being started cannot be ended";
  if (failure.empty())
    uids_.give_back(box->uid);
  co_return failure;
}

asio::awaitable<void> sandbox_registry::evict_idle() {
  asio::steady_timer timer(shared_.loop);
  for (;;) {
    timer.expires_after(eviction_interval);
    co_await timer.async_wait(asio::use_awaitable);
    for (auto const& box : list())
      if (box->idle_timeout.count() > 0 && box->charged_to->activity.idle() >= box->idle_timeout)
        asio::co_spawn(shared_.loop, remove(box), asio::detached);
  }
}

}  // namespace hf::agent
