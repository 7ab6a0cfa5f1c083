#ifndef HF_SANDBOX_DOCKER_LAUNCH_HPP
#define HF_SANDBOX_DOCKER_LAUNCH_HPP

#include <hf/sandbox/agent/health.hpp>
#include <hf/sandbox/agent/ready.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/detail/read_text_file.hpp>
#include <hf/sandbox/detail/sleep.hpp>
#include <hf/sandbox/docker/container.hpp>
#include <hf/sandbox/docker/description.hpp>
#include <hf/sandbox/docker/engine.hpp>
#include <hf/sandbox/docker/image.hpp>
#include <hf/sandbox/docker/machines.hpp>
#include <hf/sandbox/docker/resources.hpp>
#include <hf/sandbox/docker/socket_directory.hpp>
#include <hf/sandbox/docker/tar.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport_ref.hpp>
#include <hf/sandbox/launchers/launcher.hpp>
#include <hf/sandbox/options.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace hf::detail::docker {

/// The way into a container that was tried does not work with this engine; another may.
struct way_blocked {
  /// Host paths cannot be mounted; else a shared socket does not connect.
  bool mounts = false;
  /// What to report when there is no other way.
  launch_error cause;
};

/// One attempt to start one container in one way. What it made is gone when it ends without
/// success.
template <class Json>
class launch_attempt {
 public:
  using json = Json;
  using clock = std::chrono::steady_clock;

  /// `plan` has image, size, reach and the agent's mount. `agent` is the local path of the program.
  launch_attempt(machines<json>& all, http::transport_ref transport, launch_options const& options,
                 std::map<std::string, std::string> const& secrets, std::string agent,
                 container_plan plan)
      : all_(all),
        transport_(transport),
        options_(options),
        secrets_(secrets),
        agent_(std::move(agent)),
        plan_(std::move(plan)) {
    plan_.nonce = random_hex(16);
    plan_.token = random_hex(32);
    plan_.name = "hf-sandbox-" + plan_.nonce.substr(0, 12);
  }
  launch_attempt(launch_attempt const&) = delete;
  launch_attempt& operator=(launch_attempt const&) = delete;
  ~launch_attempt() {
    if (!done_)
      undo();
  }

  /// Returns a machine whose agent has answered. Throws `way_blocked` where another way may do.
  instance run() {
    try {
      return make();
    } catch (way_blocked const& blocked) {
      throw way_blocked{blocked.mounts, without_secrets(blocked.cause)};
    } catch (launch_error const& e) {
      check_start_timeout(e);
      throw without_secrets(e);
    } catch (error const& e) {
      check_start_timeout(e);
      auto message = detail::without_secrets(e.what(), shown_by_nobody());
      if (message == e.what())
        throw;
      throw error(e.kind(), std::move(message), e.details());
    }
  }

 private:
  instance make() {
    if (options_.stop.stop_requested())
      throw error(errc::cancelled, "the launch was cancelled", {.where = hop::docker});
    held_ = std::make_shared<held_socket>();
    if (plan_.reach == docker_reach::unix_socket) {
      held_->directory =
          socket_directory::make(socket_directory_base(), all_.directory_name(plan_.nonce));
      plan_.socket_mount = held_->directory.mount_source();
    }
    if (!secrets_.empty())
      plan_.environment_file = plan_.socket_mount.empty() ? std::string(inside_directory) + "/env"
                                                          : std::string(inside_run) + "/env";
    if (!plan_.socket_mount.empty() && !secrets_.empty())
      write_secrets();
    create();
    copy_in();
    start();
    instance out;
    out.health = wait_until_up(out.endpoint.emplace());
    out.id = id_;
    out.phase = phase::running;
    out.labels = container_labels(options_, plan_.nonce);
    out.message = "container is running";
    held_->directory.launched();
    all_.hold(id_, held_);
    done_ = true;
    return out;
  }

  /// The clock that ran out is the caller's, whichever request noticed.
  void check_start_timeout(error const& e) const {
    if (e.kind() == errc::request_timed_out && clock::now() >= deadline_)
      throw launch_error(errc::start_timed_out,
                         "the start took longer than start_timeout: " +
                             detail::without_secrets(e.what(), shown_by_nobody()),
                         id_.empty() ? "create" : "start", "", e.details());
  }

  /// What the engine was told and may repeat: in an error, and in what the machine printed.
  [[nodiscard]] secret_list shown_by_nobody() const {
    secret_list out{plan_.token};
    for (auto const& [name, value] : secrets_)
      out.push_back(value);
    return out;
  }

  [[nodiscard]] launch_error without_secrets(launch_error const& e) const {
    auto const secrets = shown_by_nobody();
    std::string message = e.what();
    // `what` ends in these lines; they are put behind it again.
    if (!e.log_tail().empty() && message.ends_with("\n" + e.log_tail()))
      message.resize(message.size() - e.log_tail().size() - 1);
    return launch_error(e.kind(), detail::without_secrets(std::move(message), secrets), e.stage(),
                        detail::without_secrets(e.log_tail(), secrets), e.details());
  }

  [[nodiscard]] engine_call limits() const { return {deadline_, options_.stop}; }

  json body() const { return container_body<json>(all_.options(), options_, plan_); }

  /// The secrets as the agent reads them: NAME=VALUE, each ended by a zero byte.
  [[nodiscard]] std::string secrets_text() const {
    std::string out;
    for (auto const& [name, value] : secrets_)
      out += name + "=" + value + '\0';
    return out;
  }

  void write_secrets() { held_->directory.put("env", secrets_text()); }

  void progress(std::string const& line) const {
    if (options_.on_progress)
      options_.on_progress(line);
  }

  [[nodiscard]] static launch_error failed(char const* stage, error const& e,
                                           std::string const& log = {}) {
    auto const kind = e.kind() == errc::server_error ? errc::launch_failed : e.kind();
    return launch_error(kind, e.what(), stage, log, e.details());
  }

  void create() {
    deadline_ = clock::now() + options_.start_timeout;
    bool pulled = false;
    bool clipped = false;
    all_.engine().version(transport_, limits());
    for (;;) {
      // From here on a container of that name may exist, whatever the answer. A stop request waits
      // for it: undoing what the engine is still about to do is harder than undoing what it did.
      named_ = true;
      unsure_ = true;
      auto const answer =
          request_container({(std::max)(deadline_, clock::now() + std::chrono::seconds(10)), {}});
      unsure_ = false;
      if (answer.status < 300) {
        id_ = text_at(engine_json<json>("create a container", answer), "/Id");
        if (id_.empty())
          throw launch_error(errc::protocol_error,
                             "the Docker engine created a container without an id", "create", "");
        return;
      }
      auto const message = engine_message(answer);
      if (answer.status == 404 && contains(message, "o such image") && !pulled) {
        if (!all_.options().pull)
          throw launch_error(errc::not_found,
                             "the Docker engine has no image " + plan_.image +
                                 "; pull it ('docker pull " + plan_.image +
                                 "'), or set docker_options::pull",
                             "create", "");
        pull_image(all_.engine(), transport_, plan_.image, options_.on_progress,
                   {std::nullopt, options_.stop});
        // Waiting for a registry is not waiting for the agent.
        deadline_ = clock::now() + options_.start_timeout;
        pulled = true;
        continue;
      }
      if (answer.status == 400 && contains(message, "Range of CPUs") && !all_.options().cpus &&
          !clipped) {
        plan_.size.cpus = (std::min)(plan_.size.cpus, cpus_of_engine());
        clipped = true;
        continue;
      }
      auto const cause =
          failed("create", engine_answer_error("create a container of " + plan_.image, answer));
      auto const blames = [&](std::string const& path) {
        return !path.empty() && contains(message, path);
      };
      if (blames(plan_.agent_mount) || blames(plan_.socket_mount))
        throw way_blocked{true, cause};
      throw cause;
    }
  }

  http::response request_container(engine_call const& call) {
    return all_.engine().call(transport_, "POST",
                              "/containers/create" + http::encode_query({{"name", plan_.name}}),
                              std::make_optional<json>(body()), call);
  }

  double cpus_of_engine() {
    auto const answer = all_.engine().call_idempotent(transport_, "GET", "/info", limits());
    if (answer.status >= 400)
      throw engine_answer_error("ask the Docker engine for its CPUs", answer);
    auto const count =
        value_at(engine_json<json>("ask the Docker engine for its CPUs", answer), "/NCPU");
    // No machine has more; a larger number would have no place in a request.
    constexpr std::uint64_t most = 65536;
    if (!count.is_number_unsigned() || count == 0)
      return 1;
    return static_cast<double>((std::min)(count.template get<std::uint64_t>(), most));
  }

  /// Puts the agent and the secrets into the container's files where they are not mounted.
  void copy_in() {
    bool const agent = plan_.agent_mount.empty();
    bool const secrets = !secrets_.empty() && plan_.socket_mount.empty();
    if (!agent && !secrets)
      return;
    tar_writer tar;
    tar.directory(inside_directory.substr(1), 0755);
    if (agent) {
      auto const program = read_text_file(agent_);
      if (!program)
        throw launch_error(errc::agent_not_found, "cannot read the agent " + agent_, "create", "");
      tar.file(inside_agent.substr(1), 0555, *program);
    }
    if (secrets)
      tar.file(plan_.environment_file.substr(1), 0444, secrets_text());
    auto rq = all_.engine().request(transport_, "PUT", "/containers/" + id_ + "/archive?path=/",
                                    limits());
    rq.fields.set("Content-Type", "application/x-tar");
    rq.body = std::move(tar).finish();
    auto const answer = all_.engine().exchange(transport_, rq);
    if (answer.status >= 400)
      throw failed("create", engine_answer_error("copy the agent into the container", answer));
  }

  void start() {
    auto const answer = all_.engine().call(transport_, "POST", "/containers/" + id_ + "/start",
                                           std::nullopt, limits());
    if (answer.status < 400)
      return;
    throw_start_failure(
        engine_message(answer),
        failed("start", engine_answer_error("start a container of " + plan_.image, answer)));
  }

  /// Engines report an agent that cannot be run in their answer or in the container's log.
  [[noreturn]] void throw_start_failure(std::string const& text, launch_error const& cause) {
    if (contains(text, "exec format error"))
      throw launch_error(errc::launch_failed,
                         "the agent " + agent_ +
                             " is built for another processor than the containers of this engine; "
                             "set docker_options::agent to one that fits",
                         "start", text);
    // A mount without exec permission, or a path that the engine looks for elsewhere.
    if (!plan_.agent_mount.empty() &&
        (contains(text, "permission denied") || contains(text, plan_.agent_mount)))
      throw way_blocked{true, cause};
    if (!plan_.socket_mount.empty() && contains(text, std::string(inside_socket)))
      throw way_blocked{false, cause};
    throw cause;
  }

  agent_health wait_until_up(endpoint& to) {
    auto const started = clock::now();
    auto pause = std::chrono::milliseconds(1);
    auto next_look = started + std::chrono::milliseconds(50);
    auto look_pause = std::chrono::milliseconds(100);
    for (;;) {
      if (find_agent(to)) {
        auto const left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - clock::now());
        try {
          if (auto health =
                  probe_health(transport_, to,
                               (std::max)(std::chrono::milliseconds(1),
                                          (std::min)(left, std::chrono::milliseconds(5000))),
                               options_.stop))
            return *health;
        } catch (error const& e) {
          throw failed("ready", e);
        }
      }
      auto const now = clock::now();
      if (now >= deadline_)
        throw launch_error(errc::start_timed_out,
                           "the agent in the container did not answer within start_timeout",
                           "ready", quiet_logs());
      if (now >= next_look) {
        look_at_container(now - started);
        look_pause = (std::min)(look_pause * 2, std::chrono::milliseconds(1000));
        next_look = clock::now() + look_pause;
      }
      if (!sleep_until((std::min)(now + pause, deadline_), options_.stop))
        throw error(errc::cancelled, "the launch was cancelled", {.where = hop::docker});
      // Mostly the agent is up within milliseconds of its start.
      auto const longest =
          std::chrono::milliseconds(now - started < std::chrono::seconds(1) ? 3 : 20);
      pause = (std::min)(pause * 2, longest);
    }
  }

  /// Fills in the endpoint as soon as it is known; false while it is not.
  bool find_agent(endpoint& to) {
    if (!to.url.empty())
      return true;
    if (plan_.reach == docker_reach::unix_socket) {
      held_->socket = held_->directory.open_socket();
      if (!held_->socket)
        return false;
      to = socket_endpoint(id_, held_->socket.get(), plan_.token);
      return true;
    }
    auto const description = all_.look(transport_, id_, limits());
    auto url = description ? tcp_url_of(*description, all_.engine().address()) : std::string();
    if (url.empty())
      return false;
    to = tcp_endpoint(std::move(url), plan_.token);
    return true;
  }

  /// Throws when the container has ended, or when it runs but its socket leads nowhere, as with
  /// engines in a virtual machine. (An agent that is only slow has a socket that connects.)
  void look_at_container(clock::duration waited) {
    auto const description = all_.look(transport_, id_, limits());
    auto const state = description ? describe(*description) : instance{};
    bool const socket = plan_.reach == docker_reach::unix_socket;
    if (!description || state.phase == phase::ended) {
      auto const log = last_words();
      throw_start_failure(
          log, launch_error(errc::launch_failed,
                            "the container ended before its agent answered" +
                                (description ? " (" + state.message + ")" : std::string()),
                            "ready", log));
    }
    if (socket && (held_->socket ? waited > std::chrono::seconds(3) && !is_listening(held_->socket)
                                 : waited > std::chrono::seconds(20)))
      throw way_blocked{false, launch_error(errc::launch_failed,
                                            "the container runs, but its socket in " +
                                                plan_.socket_mount + " cannot be connected to",
                                            "ready", quiet_logs())};
  }

  std::string quiet_logs() noexcept {
    try {
      return all_.logs(transport_, id_);
    } catch (...) {
      return {};
    }
  }

  /// What the container printed before it ended. The engine may have removed the log along with the
  /// container: then the same container is started once more, kept, read and removed.
  std::string last_words() noexcept {
    if (auto text = quiet_logs(); !text.empty())
      return text;
    try {
      undo_container();
      plan_.auto_remove = false;
      if (held_->directory && !secrets_.empty())
        write_secrets();
      create();
      copy_in();
      start();
      auto const until = (std::min)(deadline_, clock::now() + std::chrono::seconds(5));
      auto pause = std::chrono::milliseconds(5);
      while (clock::now() < until) {
        auto const description = all_.look(transport_, id_, limits());
        if (!description || describe(*description).phase == phase::ended)
          break;
        sleep_for(pause, options_.stop);
        pause = (std::min)(pause * 2, std::chrono::milliseconds(100));
      }
      return quiet_logs();
    } catch (...) {
      return {};
    }
  }

  void undo_container() noexcept {
    // By name: the answer with the id may never have arrived. More than once: a fault that ended
    // the launch must not keep it from being undone.
    for (int attempt = 0; named_ && attempt < 3; ++attempt) {
      try {
        if (unsure_)
          settle();
        all_.remove(transport_, plan_.name);
        named_ = false;
      } catch (...) {
        sleep_for(std::chrono::milliseconds(50 << (2 * attempt)), {});
      }
    }
  }

  /// After a request to create a container that had no answer: makes sure that the container is
  /// there or will never be. Asking again tells, because the engine reserves a name first.
  void settle() {
    sleep_for(std::chrono::milliseconds(20), {});
    auto const until = clock::now() + std::chrono::seconds(10);
    auto const answer = request_container({until, {}});
    unsure_ = false;
    if (answer.status != 409)
      return;
    for (auto pause = std::chrono::milliseconds(5); clock::now() < until; pause *= 2) {
      if (all_.look(transport_, plan_.name, {until, {}}))
        return;
      sleep_for((std::min)(pause, std::chrono::milliseconds(200)), {});
    }
  }

  void undo() noexcept {
    undo_container();
    if (held_)
      held_->directory.remove();
  }

  machines<json>& all_;
  http::transport_ref transport_;
  launch_options const& options_;
  std::map<std::string, std::string> const& secrets_;
  std::string agent_;
  container_plan plan_;
  std::shared_ptr<held_socket> held_;
  clock::time_point deadline_ = clock::now() + options_.start_timeout;
  std::string id_;
  bool named_ = false;
  bool unsure_ = false;
  bool done_ = false;
};

}  // namespace hf::detail::docker

#endif
