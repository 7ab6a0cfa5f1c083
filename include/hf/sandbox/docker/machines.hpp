#ifndef HF_SANDBOX_DOCKER_MACHINES_HPP
#define HF_SANDBOX_DOCKER_MACHINES_HPP

#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/detail/sleep.hpp>
#include <hf/sandbox/detail/unique_fd.hpp>
#include <hf/sandbox/docker/container.hpp>
#include <hf/sandbox/docker/description.hpp>
#include <hf/sandbox/docker/engine.hpp>
#include <hf/sandbox/docker/engine_address.hpp>
#include <hf/sandbox/docker/log_frames.hpp>
#include <hf/sandbox/docker/options.hpp>
#include <hf/sandbox/docker/socket_directory.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport_ref.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/hub/environment.hpp>
#include <hf/sandbox/launchers/launcher.hpp>

#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::detail::docker {

/// What is kept open for a container whose agent listens in a shared directory.
struct held_socket {
  socket_directory directory;
  unique_fd socket;
};

/// The containers of one engine that are sandboxes: looks at them, ends them, and holds the sockets
/// of those that this process talks to. Calls may come from several threads at once.
template <class Json = nlohmann::json>
class machines {
 public:
  using json = Json;

  explicit machines(docker_options options) : options_(std::move(options)) {}

  [[nodiscard]] docker_options const& options() const noexcept { return options_; }

  /// The engine; its address is looked for at the first call.
  docker::engine<json>& engine() {
    std::lock_guard const lock(mutex_);
    if (!engine_)
      engine_ = std::make_unique<docker::engine<json>>(find_engine<json>(options_));
    return *engine_;
  }

  /// The container as the engine describes it; nothing when there is none of that id.
  std::optional<json> look(http::transport_ref transport, std::string const& id,
                           engine_call const& limits) {
    auto const answer = engine().call_idempotent(
        transport, "GET", "/containers/" + http::encode_component(id) + "/json", limits);
    if (answer.status == 404)
      return std::nullopt;
    if (answer.status >= 400)
      throw engine_answer_error("inspect container " + id, answer);
    // Spelled out: a JSON value also converts to anything by itself.
    return std::make_optional<json>(engine_json<json>("inspect container " + id, answer));
  }

  instance inspect(http::transport_ref transport, std::string const& id) {
    auto const description = is_possible(id) ? look(transport, id, {}) : std::nullopt;
    if (!description)
      throw error(errc::not_found, "there is no container " + id, {.where = hop::docker});
    auto out = describe(*description);
    if (!is_sandbox(out.labels))
      throw error(errc::not_found, "container " + id + " is no sandbox", {.where = hop::docker});
    if (out.phase == phase::running)
      out.endpoint = find_endpoint(*description, out.id);
    return out;
  }

  std::vector<instance> list(http::transport_ref transport, label_filter const& filter) {
    json labels = json::array({"hf-sandbox=1"});
    for (auto const& [key, value] : filter)
      labels.push_back(key + "=" + value);
    std::vector<instance> out;
    for (auto const& entry : containers(transport, json{{"label", labels}})) {
      instance machine;
      machine.id = text_at(entry, "/Id");
      machine.phase = phase_of(text_at(entry, "/State"));
      machine.labels = labels_of(value_at(entry, "/Labels"));
      machine.message = "container is " + text_at(entry, "/State");
      // Asked for above; an engine that ignores a filter must not widen the list.
      bool matches = machine.phase != phase::ended && is_sandbox(machine.labels);
      for (auto const& [key, value] : filter) {
        auto const it = machine.labels.find(key);
        matches = matches && it != machine.labels.end() && it->second == value;
      }
      if (matches)
        out.push_back(std::move(machine));
      else if (is_left_over(entry))
        remove_quietly(transport, machine.id);
    }
    if (filter.empty())
      sweep(transport);
    return out;
  }

  void stop(http::transport_ref transport, std::string const& id) {
    if (!is_possible(id))
      return;
    auto held = forget(id);
    if (!held) {
      auto const description = look(transport, id, {});
      if (!description)
        return;
      if (!is_sandbox(describe(*description).labels))
        throw error(errc::invalid_argument, "container " + id + " is no sandbox; it is left alone",
                    {.where = hop::docker});
      held = std::make_shared<held_socket>();
      if (auto const mount = socket_mount_of(*description); is_ours(mount))
        held->directory = socket_directory::of_mount(mount);
    }
    try {
      remove(transport, id);
    } catch (...) {
      // Unreachable from now on either way; if it still runs, idle_timeout ends it.
      held->directory.remove();
      throw;
    }
    held->directory.remove();
  }

  std::string logs(http::transport_ref transport, std::string const& id) {
    if (!is_possible(id))
      return {};
    auto const answer = engine().call_idempotent(
        transport, "GET",
        "/containers/" + http::encode_component(id) + "/logs?stdout=1&stderr=1&tail=50", {});
    if (answer.status == 404 || answer.status == 409)
      return {};
    if (answer.status >= 400)
      throw engine_answer_error("read the log of container " + id, answer);
    return text_of_log_frames(answer.body);
  }

  /// Removes a container with its anonymous volumes, running or not; returns once it is gone.
  void remove(http::transport_ref transport, std::string const& id) {
    auto const target = "/containers/" + http::encode_component(id);
    auto const deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (auto pause = std::chrono::milliseconds(5);; pause = (std::min)(pause * 2, longest_pause)) {
      auto const answer =
          engine().call_idempotent(transport, "DELETE", target + "?force=1&v=1", {});
      if (answer.status == 404 || answer.status < 300)
        return;
      // The engine is removing it already, or had it in its hands at the wrong moment.
      bool const busy = answer.status == 409 || answer.status == 500;
      if (!busy || std::chrono::steady_clock::now() > deadline)
        throw engine_answer_error("remove container " + id, answer);
      sleep_for(pause, {});
    }
  }

  /// Keeps what belongs to a container that this launcher has started.
  void hold(std::string const& id, std::shared_ptr<held_socket> socket) {
    std::lock_guard const lock(mutex_);
    held_[id] = std::move(socket);
  }

  /// What has proved not to work with this engine; launches begin with what is left.
  [[nodiscard]] bool mounts_work() const noexcept { return mounts_work_; }
  [[nodiscard]] bool sockets_work() const noexcept { return sockets_work_; }
  void give_up_mounts() noexcept { mounts_work_ = false; }
  void give_up_sockets() noexcept { sockets_work_ = false; }

  /// A name for the directory of a container of this engine: other engines' are left alone.
  std::string directory_name(std::string const& nonce) { return engine_key() + "-" + nonce; }

  /// `sweep`, at the first call only and without errors.
  void sweep_once(http::transport_ref transport, engine_call const& limits) {
    if (swept_.exchange(true))
      return;
    try {
      sweep(transport, limits);
    } catch (error const&) {
      // Whoever goes on with this engine will hear of it.
    }
  }

  /// Removes the directories of containers that are gone and whose creators did not live to do so.
  void sweep(http::transport_ref transport, engine_call const& limits = {}) {
    namespace fs = std::filesystem;
    std::error_code failed;
    std::vector<fs::path> candidates;
    auto const prefix = engine_key() + "-";
    for (auto it = fs::directory_iterator(socket_directory_base(), failed);
         !failed && it != fs::directory_iterator(); it.increment(failed)) {
      auto const& path = it->path();
      struct stat info {};
      // Not in use now: if it has a container, the engine knows that already.
      if (path.filename().string().starts_with(prefix) && ::lstat(path.c_str(), &info) == 0 &&
          info.st_uid == ::geteuid() && std::time(nullptr) - info.st_mtime > 60 &&
          !socket_directory::in_use(path))
        candidates.push_back(path);
    }
    if (candidates.empty())
      return;
    std::vector<typename json::string_t> alive;
    for (auto const& entry : containers(transport, json{{"label", {"hf-sandbox=1"}}}, limits))
      alive.push_back(text_at(entry, "/Labels/hf-sandbox-nonce"));
    for (auto const& path : candidates) {
      auto const nonce = path.filename().string().substr(prefix.size());
      if (std::find(alive.begin(), alive.end(), nonce) == alive.end())
        fs::remove_all(path, failed);
    }
  }

 private:
  static constexpr std::chrono::milliseconds longest_pause{200};

  /// Whether the engine could have a container of that id or name; others never reach it.
  static bool is_possible(std::string const& id) {
    constexpr std::string_view allowed =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    return !id.empty() && id.find_first_not_of(allowed) == std::string::npos && id[0] != '.';
  }

  std::string engine_key() { return sha256_hex(engine().address().name).substr(0, 8); }

  /// Whether a container is a sandbox that ended a while ago and was not removed: its creator was
  /// killed while it read the log of a failed start. All others are removed by the engine.
  static bool is_left_over(json const& entry) {
    auto const created = value_at(entry, "/Created");
    return is_sandbox(labels_of(value_at(entry, "/Labels"))) &&
           text_at(entry, "/State") == "exited" && created.is_number_integer() &&
           created.template get<std::int64_t>() < std::time(nullptr) - 600;
  }

  void remove_quietly(http::transport_ref transport, std::string const& id) noexcept {
    try {
      remove(transport, id);
    } catch (...) {
      // The next one that lists tries again.
    }
  }

  json containers(http::transport_ref transport, json const& filters,
                  engine_call const& limits = {}) {
    auto const answer = engine().call_idempotent(
        transport, "GET",
        "/containers/json" + http::encode_query({{"all", "1"}, {"filters", filters.dump()}}),
        limits);
    if (answer.status >= 400)
      throw engine_answer_error("list containers", answer);
    auto out = engine_json<json>("list containers", answer);
    return out.is_array() ? out : json::array();
  }

  /// Whether a mount's source is a directory that a launcher of this user has made.
  static bool is_ours(std::filesystem::path const& mount) {
    return mount.filename() == "run" && mount == mount.lexically_normal() &&
           mount.parent_path().parent_path() == socket_directory_base();
  }

  std::optional<endpoint> find_endpoint(json const& description, std::string const& id) {
    auto const token = environment_value(description, "SBX_TOKEN");
    auto const mount = socket_mount_of(description);
    if (mount.empty()) {
      auto url = tcp_url_of(description, engine().address());
      if (url.empty())
        return std::nullopt;
      return tcp_endpoint(std::move(url), token);
    }
    std::lock_guard const lock(mutex_);
    auto& held = held_[id];
    if (!held || !held->socket) {
      auto fresh = std::make_shared<held_socket>();
      fresh->directory = socket_directory::of_mount(mount);
      if (!fresh->directory.is_open() && errno == EACCES)
        throw error(errc::permission_denied,
                    "container " + id +
                        " was started by another user of this machine, who alone "
                        "can reach its agent in " +
                        mount.string(),
                    {.where = hop::docker});
      fresh->socket = fresh->directory.open_socket();
      if (!fresh->socket) {
        held_.erase(id);
        return std::nullopt;
      }
      held = std::move(fresh);
    }
    return socket_endpoint(id, held->socket.get(), token);
  }

  std::shared_ptr<held_socket> forget(std::string const& id) {
    std::lock_guard const lock(mutex_);
    auto const it = held_.find(id);
    if (it == held_.end())
      return nullptr;
    auto out = std::move(it->second);
    held_.erase(it);
    return out;
  }

  docker_options options_;
  std::atomic<bool> mounts_work_{true};
  std::atomic<bool> sockets_work_{true};
  std::atomic<bool> swept_{false};
  std::mutex mutex_;
  std::unique_ptr<docker::engine<json>> engine_;
  std::map<typename json::string_t, std::shared_ptr<held_socket>> held_;
};

}  // namespace hf::detail::docker

#endif
