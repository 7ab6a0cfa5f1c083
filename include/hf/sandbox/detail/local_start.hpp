#ifndef HF_SANDBOX_DETAIL_LOCAL_START_HPP
#define HF_SANDBOX_DETAIL_LOCAL_START_HPP

#include <hf/sandbox/agent/locate.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/detail/local_isolation.hpp>
#include <hf/sandbox/detail/local_options.hpp>
#include <hf/sandbox/detail/local_record.hpp>
#include <hf/sandbox/detail/local_sandboxes.hpp>
#include <hf/sandbox/detail/local_spawn.hpp>
#include <hf/sandbox/detail/local_status.hpp>
#include <hf/sandbox/detail/remove_tree.hpp>
#include <hf/sandbox/detail/signal_hold.hpp>
#include <hf/sandbox/launchers/process_options.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hf::detail {

/// Ends what a start has begun, unless it is kept: the agent, its keeper and their directories.
template <class Json>
class local_undo {
 public:
  local_undo(local_sandboxes<Json> const& sandboxes, std::string id)
      : sandboxes_(sandboxes), id_(std::move(id)) {}
  local_undo(local_undo&& other) noexcept
      : sandboxes_(other.sandboxes_),
        id_(std::exchange(other.id_, {})),
        scratch_(std::move(other.scratch_)),
        alias_(std::move(other.alias_)),
        lifeline_(std::move(other.lifeline_)),
        status_(std::move(other.status_)) {}
  local_undo& operator=(local_undo&&) = delete;
  ~local_undo() { (void)now(); }

  void owns_scratch(std::string path) { scratch_ = std::move(path); }
  void owns_alias(std::string path) { alias_ = std::move(path); }
  void owns_process(unique_fd lifeline, std::shared_ptr<local_status> status) {
    lifeline_ = std::move(lifeline);
    status_ = std::move(status);
  }

  /// The machine stays; returns what holds it.
  [[nodiscard]] unique_fd keep() {
    id_.clear();
    return std::move(lifeline_);
  }

  /// Does it now; returns the agent's last lines.
  std::string now() noexcept {
    if (id_.empty())
      return {};
    try {
      lifeline_.reset();
      if (status_)
        status_->wait_until_gone(local_status::clock::now() + std::chrono::seconds(30));
      if (!alias_.empty())
        remove_local_alias(alias_);
      if (scratch_.empty() || remove_tree(scratch_))
        (void)remove_tree(sandboxes_.path_of(id_));
      sandboxes_.remove_base_if_empty();
      id_.clear();
      return status_ ? status_->log() : std::string();
    } catch (...) {
      return {};
    }
  }

 private:
  local_sandboxes<Json> const& sandboxes_;
  std::string id_;
  std::string scratch_;
  std::string alias_;
  unique_fd lifeline_;
  std::shared_ptr<local_status> status_;
};

/// A sandbox whose agent is confined and listens, but has not answered yet.
template <class Json>
struct local_beginning {
  instance machine;
  std::shared_ptr<local_status> status;
  local_undo<Json> undo;
};

/// Path of the directory for all that a sandbox writes.
template <class Json = wire::json>
[[nodiscard]] std::string local_scratch_path(std::string const& id, std::string base) {
  char const* const temporary = std::getenv("TMPDIR");
  if (base.empty())
    base = temporary != nullptr && *temporary == '/' ? temporary : "/var/tmp";
  return std::filesystem::absolute(base).lexically_normal() /
         local_sandboxes<Json>::scratch_name(id);
}

template <class = void>
void make_local_scratch(std::string const& path) {
  if (::mkdir(path.c_str(), 0700) != 0)
    throw local_error("cannot make the directory " + path, errno);
}

template <class = void>
[[nodiscard]] std::vector<std::string> local_arguments(std::string const& agent, isolation level,
                                                       std::string const& state,
                                                       local_record const& record,
                                                       launch_options const& what,
                                                       bool remove_base) {
  std::string const mode = level == isolation::private_root    ? "private-root"
                           : level == isolation::landlock_only ? "landlock-only"
                                                               : "none";
  std::vector<std::string> arguments{agent,
                                     "--confine=" + mode,
                                     "--state=" + state,
                                     "--scratch=" + record.scratch,
                                     "--lifeline-fd=" + std::to_string(spawned_lifeline_fd),
                                     "--status-fd=" + std::to_string(spawned_status_fd),
                                     "--lock-fd=" + std::to_string(spawned_lock_fd)};
  if (!record.alias.empty())
    arguments.push_back("--state-alias=" + record.alias);
  if (char const* const home = std::getenv("HOME"); home != nullptr && *home == '/')
    arguments.push_back("--home=" + std::string(home));
  if (what.timeout)
    arguments.push_back("--lifetime=" + std::to_string(what.timeout->count()));
  if (remove_base)
    arguments.emplace_back("--remove-base");
  if (what.network == false)
    arguments.emplace_back("--no-network");
  for (auto const& v : what.volumes) {
    arguments.emplace_back(v.read_only.value_or(false) ? "--volume-ro" : "--volume-rw");
    arguments.push_back(v.source);
    arguments.push_back(v.mount_path);
  }
  return arguments;
}

/// Throws what a start that did not come to "ready" means.
template <class Json>
[[noreturn]] void throw_local_failure(local_status& status, local_undo<Json>& undo, isolation level,
                                      stop_token const& stop) {
  using outcome = local_status::outcome;
  auto const result = status.decided();
  auto const log = undo.now();
  if (result == outcome::denied)
    throw launch_error(errc::isolation_unavailable,
                       std::string("isolation::") + to_string(level) +
                           " is not available on this machine (" + status.reason() + "). " +
                           isolation_remedy(level),
                       "confine", log);
  if (result == outcome::failed)
    throw launch_error(
        status.reason().ends_with("No space left on device") ? errc::no_space : errc::launch_failed,
        "the agent could not be started: " + status.reason(), "confine", log);
  if (result == outcome::running && stop.stop_requested())
    throw error(errc::cancelled, "starting the sandbox was cancelled");
  if (result == outcome::running)
    throw launch_error(errc::start_timed_out, "the agent did not start within start_timeout",
                       "confine", log);
  throw launch_error(errc::launch_failed, "the agent ended before it was confined", "confine", log);
}

/// Starts a confined agent up to the point where its socket can be connected to.
template <class Json, class Hold = signal_hold>
[[nodiscard]] local_beginning<Json> begin_local(local_sandboxes<Json> const& sandboxes,
                                                process_launcher_options const& how,
                                                launch_options const& what,
                                                local_status::clock::time_point deadline) {
  check_local_options(what, how.isolation);
  if (what.stop.stop_requested())
    throw error(errc::cancelled, "starting the sandbox was cancelled");
  std::string const agent = locate_agent(how.agent).string();
  if (what.on_progress)
    what.on_progress("starting " + agent);
  sandboxes.remove_stale();

  std::string const id = random_hex(12);
  std::string token = random_hex(32);
  std::string const state = sandboxes.path_of(id);
  std::optional<Hold> hold(std::in_place);
  local_undo<Json> undo(sandboxes, id);
  unique_fd const directory = sandboxes.make(id);
  lock_directory(directory.get(), state);
  local_record record;
  record.labels = local_labels(what);
  record.isolation = to_string(how.isolation);
  record.created_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  record.scratch = local_scratch_path<Json>(id, how.scratch_directory.string());
  if (sandboxes.needs_alias(id))
    record.alias = local_alias_path(id);
  // Before there is anything to remember: should this program be killed, others clear it away.
  write_local_record(directory.get(), record);
  write_file_at(directory.get(), "token", token);
  make_local_scratch(record.scratch);
  undo.owns_scratch(record.scratch);
  if (!record.alias.empty()) {
    undo.owns_alias(record.alias);
    make_local_alias(record.alias, state);
  }

  auto started = spawn_local_agent(
      agent, local_arguments(agent, how.isolation, state, record, what, sandboxes.owns_base()),
      local_environment(what), directory.get());
  hold.reset();
  auto const status = std::make_shared<local_status>(std::move(started.status));
  undo.owns_process(std::move(started.lifeline), status);
  bool const ready =
      status->wait_until_decided(deadline, what.stop) == local_status::outcome::ready;
  started.child.end(ready ? deadline : local_status::clock::now() + std::chrono::seconds(1));
  if (!ready)
    throw_local_failure(*status, undo, how.isolation, what.stop);
  record.keeper = status->keeper();
  record.keeper_start = process_start_time(record.keeper);
  write_local_record<Json>(directory.get(), record);

  instance machine;
  machine.id = id;
  machine.phase = phase::running;
  machine.endpoint = sandboxes.reach(id, record.alias, std::move(token));
  machine.labels = std::move(record.labels);
  machine.message = "isolation " + record.isolation;
  return {std::move(machine), status, std::move(undo)};
}

}  // namespace hf::detail

#endif
