#ifndef HF_SANDBOX_BASIC_SANDBOX_HPP
#define HF_SANDBOX_BASIC_SANDBOX_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/exec.hpp>
#include <hf/sandbox/agent/spawn.hpp>
#include <hf/sandbox/basic_client.hpp>
#include <hf/sandbox/command.hpp>
#include <hf/sandbox/detail/exit_registry.hpp>
#include <hf/sandbox/detail/process_id.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/files.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/launchers/launcher.hpp>
#include <hf/sandbox/options.hpp>
#include <hf/sandbox/process.hpp>

#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf {

/// A disposable machine: create it, run commands in it, move files, reach servers, throw it away.
///
/// Movable, not copyable. All members may be called from several threads at once. A sandbox that
/// was created is terminated by its destructor, or at `std::exit` when it is alive then; one that
/// was connected to is left running. A moved-from sandbox may only be assigned to or destroyed.
template <class Transport, class Launcher>
requires transport<Transport> && launcher<Launcher, Transport>
class basic_sandbox {
 public:
  /// The transport.
  using transport_type = Transport;
  /// The launcher.
  using launcher_type = Launcher;
  /// What several sandboxes share.
  using client_type = basic_client<Transport, Launcher>;
  /// A background process of this sandbox.
  using process_type = basic_process<Transport>;
  /// The files of this sandbox.
  using files_type = basic_files<Transport>;

  /// Starts a machine and waits until its agent answers. Throws `hf::error` (often `launch_error`)
  /// and leaves nothing behind when that fails. Blocks for at most `start_timeout`.
  [[nodiscard]] static basic_sandbox create(launch_options const& options = {},
                                            Launcher launcher = Launcher(),
                                            Transport transport = Transport()) {
    return create(std::make_shared<client_type>(std::move(launcher), std::move(transport)),
                  options);
  }
  /// The same, sharing a client's connections and caches with other sandboxes. (A template, so that
  /// `create({})` means empty options.)
  template <std::same_as<std::shared_ptr<client_type>> Client>
  [[nodiscard]] static basic_sandbox create(Client client, launch_options const& options = {}) {
    auto machine = client->launcher().launch(client->transport(), options);
    return basic_sandbox(std::move(client), std::move(machine), true);
  }

  /// Takes hold of a running machine by its id. It is not terminated by the destructor.
  /// `errc::not_found` for an unknown id, `errc::sandbox_expired` for one that has ended.
  [[nodiscard]] static basic_sandbox connect(std::string const& id, Launcher launcher = Launcher(),
                                             Transport transport = Transport()) {
    return connect(std::make_shared<client_type>(std::move(launcher), std::move(transport)), id);
  }
  /// The same, sharing a client.
  [[nodiscard]] static basic_sandbox connect(std::shared_ptr<client_type> client,
                                             std::string const& id) {
    auto machine = client->launcher().inspect(client->transport(), id);
    if (machine.phase == phase::ended)
      throw error(errc::sandbox_expired, "sandbox " + id + " has ended: " + machine.message);
    if (machine.phase != phase::running || !machine.endpoint)
      throw error(errc::conflict, "sandbox " + id + " is not running yet: " + machine.message,
                  {.retry = retry_advice::yes});
    return basic_sandbox(std::move(client), std::move(machine), false);
  }

  /// The machines that have not ended and carry all these labels.
  [[nodiscard]] static std::vector<instance> list(label_filter const& filter = {},
                                                  Launcher launcher = Launcher(),
                                                  Transport transport = Transport()) {
    client_type client(std::move(launcher), std::move(transport));
    return client.launcher().list(client.transport(), filter);
  }
  /// The same through a client.
  template <std::same_as<std::shared_ptr<client_type>> Client>
  [[nodiscard]] static std::vector<instance> list(Client const& client,
                                                  label_filter const& filter = {}) {
    return client->launcher().list(client->transport(), filter);
  }

  /// Ends every machine that carries all these labels; returns how many. Goes on after a failure
  /// and throws the first one at the end.
  static std::size_t terminate_all(std::shared_ptr<client_type> const& client,
                                   label_filter const& filter) {
    std::size_t ended = 0;
    std::exception_ptr first;
    for (auto const& machine : list(client, filter)) {
      try {
        client->launcher().stop(client->transport(), machine.id);
        ++ended;
      } catch (error const&) {
        if (!first)
          first = std::current_exception();
      }
    }
    if (first)
      std::rethrow_exception(first);
    return ended;
  }
  /// The same with a client of its own.
  static std::size_t terminate_all(label_filter const& filter, Launcher launcher = Launcher(),
                                   Transport transport = Transport()) {
    return terminate_all(std::make_shared<client_type>(std::move(launcher), std::move(transport)),
                         filter);
  }

  /// Takes the machine over.
  basic_sandbox(basic_sandbox&&) noexcept = default;
  /// Ends the machine held so far, if it is owned, and takes the other over.
  basic_sandbox& operator=(basic_sandbox&& other) noexcept {
    if (this != &other) {
      end_quietly(end_reason::destructor);
      core_ = std::move(other.core_);
    }
    return *this;
  }
  basic_sandbox(basic_sandbox const&) = delete;
  basic_sandbox& operator=(basic_sandbox const&) = delete;
  ~basic_sandbox() { end_quietly(end_reason::destructor); }

  /// The launcher's id of the machine; what `connect` takes.
  [[nodiscard]] std::string const& id() const noexcept { return core_->machine.id; }
  /// The machine as the launcher described it at `create` or `connect`.
  [[nodiscard]] hf::instance const& machine() const noexcept { return core_->machine; }
  /// The client that this sandbox uses.
  [[nodiscard]] std::shared_ptr<client_type> const& client() const noexcept {
    return core_->client;
  }

  /// Runs a command and waits for its end. A non-zero exit code is a result, not an error
  /// (`run_result::check` makes it one).
  ///
  /// A broken connection is made anew and the output continued where it broke, without running
  /// anything twice. Errors: `invalid_argument` and `exec_failed` (nothing ran), `unsupported`,
  /// `run_interrupted` (`connection_lost`, `outcome_unknown`, `op_unknown`, `output_gone`,
  /// `request_timed_out`), `output_limit` (only with `capture_overflow::fail`), `sandbox_expired`, and those of the transport.
  run_result exec(command const& what, exec_options const& options = {}) {
    return detail::exec(core_->agent, what, options, core_->machine_ended);
  }

  /// Starts a command in the background and returns once it runs. Its output is kept by the agent;
  /// `follow` and `output` of the process get it.
  process_type spawn(command const& what, spawn_options const& options = {}) {
    auto started = detail::spawn(core_->agent, what, options);
    return process_type(agent(), core_->machine_ended, std::move(started.handle), started.pid);
  }

  /// The background processes; the last 256 that have ended are still listed.
  [[nodiscard]] std::vector<process_info> processes(call_options const& options = {}) {
    return detail::list_processes(core_->agent, options);
  }

  /// A handle for a process that was started elsewhere, by its id ("p-3").
  [[nodiscard]] process_type attach(std::string process_id) {
    if (process_id.empty() ||
        process_id.find_first_not_of(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") !=
            std::string::npos)
      throw error(errc::invalid_argument, "attach: '" + process_id + "' is no process id");
    run_handle handle;
    handle.process_id = std::move(process_id);
    handle.agent_instance = core_->agent.instance();
    return process_type(agent(), core_->machine_ended, std::move(handle), 0);
  }

  /// Follows an interrupted `exec` to its end, also from another program: output from behind
  /// `handle.last_seq` on, then the result with that output. Stopping the call leaves the command
  /// running unless `when_stopped` says otherwise.
  run_result resume(run_handle const& handle, follow_options const& options = {}) {
    return detail::attach(core_->agent, handle, options, core_->machine_ended);
  }

  /// The files of the machine.
  [[nodiscard]] files_type files() { return files_type(agent()); }
  /// Writes a file, replacing what is there; parent directories are made.
  void write_file(std::string const& path, std::string_view content,
                  write_options const& options = {}) {
    files().write(path, content, options);
  }
  /// The bytes of a file. `errc::not_found`, `errc::is_directory`; `errc::too_large` above 512 MiB.
  [[nodiscard]] std::string read_file(std::string const& path, read_options const& options = {}) {
    return files().read(path, options);
  }

  /// URL of a server inside the machine that listens on 127.0.0.1:`port`. Requests to it must carry
  /// `headers()`. `scheme` "http" or "ws" replaces the endpoint's scheme by one of the same
  /// security.
  ///
  /// Behind an agent of the common protocol a connection belongs to that server from its first
  /// request on, and a second request would reach the server as it is: ask with `Connection: close`
  /// there.
  [[nodiscard]] std::string url_for(std::uint16_t port, std::string_view path = "/",
                                    std::string_view scheme = {}) const {
    if (port == 0)
      throw error(errc::invalid_argument, "url_for: port 0 is no port");
    std::string url = core_->machine.endpoint->url;
    if (scheme == "ws" || scheme == "wss") {
      bool const secure = url.starts_with("https:");
      url = (secure ? "wss:" : "ws:") + url.substr(url.find(':') + 1);
    } else if (!scheme.empty() && scheme != "http" && scheme != "https") {
      throw error(errc::invalid_argument, "url_for: scheme must be http, https, ws or wss");
    }
    url += "/v1/proxy/" + std::to_string(port);
    if (!path.starts_with('/'))
      url += '/';
    url += path;
    return url;
  }
  /// Header fields that requests to `url_for` and to the agent must carry. They hold the sandbox's
  /// secrets.
  [[nodiscard]] http::headers const& headers() const noexcept {
    return core_->machine.endpoint->headers;
  }
  /// The unix socket that `url_for`'s host stands for; empty: TCP.
  [[nodiscard]] std::string const& unix_socket() const noexcept {
    return core_->machine.endpoint->unix_socket;
  }

  /// What the agent says of itself; asked once.
  [[nodiscard]] agent_health info(call_options const& options = {}) {
    return core_->agent.features(options);
  }

  /// The tail of what the machine printed.
  [[nodiscard]] std::string logs() {
    return core_->client->launcher().logs(core_->client->transport(), id());
  }

  /// Hands on what the machine prints, line by line, until it ends or `on_line` returns false. Only
  /// with launchers that can (HF Jobs).
  template <class OnLine>
  void follow_logs(OnLine&& on_line, stop_token stop = {}) requires
      requires(Launcher& l, Transport& t) {
    l.follow_logs(t, "", on_line, stop);
  }
  {
    core_->client->launcher().follow_logs(core_->client->transport(), id(), on_line,
                                          std::move(stop));
  }
  /// Hands on samples of the machine's resource use, until it ends or `on_sample` returns false.
  /// Only with launchers that can (HF Jobs: about once a second, `hub::job_metrics`).
  template <class OnSample>
  void metrics(OnSample&& on_sample, stop_token stop = {}) requires
      requires(Launcher& l, Transport& t) {
    l.metrics(t, "", on_sample, stop);
  }
  {
    core_->client->launcher().metrics(core_->client->transport(), id(), on_sample, std::move(stop));
  }
  /// The user's labels as the launcher has them now. Only with launchers that can (HF Jobs).
  [[nodiscard]] std::map<std::string, std::string> labels() requires
      requires(Launcher& l, Transport& t) {
    l.labels(t, "");
  }
  { return core_->client->launcher().labels(core_->client->transport(), id()); }
  /// Replaces the user's labels. Only with launchers that can (HF Jobs).
  void labels(std::map<std::string, std::string> const& replacement) requires
      requires(Launcher& l, Transport& t) {
    l.labels(t, "", replacement);
  }
  { core_->client->launcher().labels(core_->client->transport(), id(), replacement); }

  /// Ends the machine and everything in it; once ended, does nothing.
  void terminate() { end(end_reason::user); }

  /// Lets the machine outlive this object; returns its id for `connect`.
  std::string release() {
    auto& core = *core_;
    std::lock_guard const lock(core.life);
    if constexpr (requires(Launcher & l, Transport & t, std::string const& i) { l.release(t, i); })
      if (core.owned && !core.ended)
        core.client->launcher().release(core.client->transport(), core.machine.id);
    core.owned = false;
    exits::get().remove(&core);
    return core.machine.id;
  }

 private:
  // The one registry there is, by a name that depends on a parameter: compiled only when used.
  using exits = detail::exit_registry<
      std::conditional_t<std::is_void_v<Transport>, void, std::function<void()>>>;

  struct core_state {
    core_state(std::shared_ptr<client_type> shared, hf::instance started, bool own)
        : client(std::move(shared)),
          machine(std::move(started)),
          agent(client->transport(), *machine.endpoint, machine.health),
          owned(own) {
      // Held by process handles too, which may outlive the sandbox object: no reference to this.
      machine_ended = [client = client, id = machine.id] {
        try {
          return client->launcher().inspect(client->transport(), id).phase == phase::ended;
        } catch (error const& e) {
          return e.kind() == errc::not_found;
        }
      };
      agent.on_unreachable(machine_ended);
    }

    std::shared_ptr<client_type> client;
    hf::instance machine;
    agent_client<Transport> agent;
    std::function<bool()> machine_ended;
    std::mutex life;
    bool owned;
    bool ended = false;
    /// A child that this process forks has a copy of the object, but not the machine.
    long creator = detail::process_id();
  };

  basic_sandbox(std::shared_ptr<client_type> client, hf::instance machine, bool owned)
      : core_(std::make_shared<core_state>(std::move(client), std::move(machine), owned)) {
    if (owned)
      exits::get().add(core_.get(), [weak = std::weak_ptr<core_state>(core_)] {
        if (auto core = weak.lock())
          end_core_quietly(*core, end_reason::atexit);
      });
  }

  /// The agent's client, keeping everything that it needs alive.
  [[nodiscard]] std::shared_ptr<agent_client<Transport>> agent() const {
    return std::shared_ptr<agent_client<Transport>>(core_, &core_->agent);
  }

  static void end_core(core_state& core, end_reason reason) {
    std::lock_guard const lock(core.life);
    if (core.ended)
      return;
    auto& l = core.client->launcher();
    auto& t = core.client->transport();
    if constexpr (requires { l.stop(t, core.machine.id, reason); })
      l.stop(t, core.machine.id, reason);
    else
      l.stop(t, core.machine.id);
    core.ended = true;
    core.agent.machine_was_ended();
    exits::get().remove(&core);
  }

  static void end_core_quietly(core_state& core, end_reason reason) noexcept {
    try {
      if (core.owned && core.creator == detail::process_id())
        end_core(core, reason);
    } catch (...) {
      // Nobody is left to be told; idle_timeout ends the machine.
    }
  }

  void end(end_reason reason) { end_core(*core_, reason); }

  void end_quietly(end_reason reason) noexcept {
    if (!core_)
      return;
    if (core_->creator != detail::process_id()) {
      exits::get().keep(std::move(core_));
      return;
    }
    end_core_quietly(*core_, reason);
    exits::get().remove(core_.get());
  }

  std::shared_ptr<core_state> core_;
};

}  // namespace hf

#endif
