#ifndef HF_SANDBOX_TESTING_FAKE_LAUNCHER_HPP
#define HF_SANDBOX_TESTING_FAKE_LAUNCHER_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/launchers/launcher.hpp>
#include <hf/sandbox/options.hpp>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hf::testing {

/// A launcher that starts nothing: its machines run at once, at an endpoint that the test names.
///
/// Use it with a `scripted_transport`, or with a real one and the endpoint of a server of the
/// test's own. Copies share their machines, so that a test keeps one while a sandbox owns another.
/// Safe to use from several threads.
class fake_launcher {
 public:
  /// The endpoint of machines, by id; by default "http://<id>.localhost" with a made-up token.
  using endpoint_maker = std::function<endpoint(std::string const& id)>;

  /// Machines whose endpoint `where` makes.
  explicit fake_launcher(endpoint_maker where = {}) : state_(std::make_shared<state>()) {
    state_->where = where ? std::move(where) : [](std::string const& id) {
      endpoint made;
      made.url = "http://" + id + ".localhost";
      made.headers = {{"X-Sandbox-Token", "token-of-" + id}};
      return made;
    };
  }

  /// The next `launch` throws this in place of starting a machine.
  void fail_next_launch(error what) {
    std::lock_guard const lock(state_->mutex);
    state_->failure = std::move(what);
  }
  /// A machine ends on its own, as after its lifetime.
  void end(std::string const& id, std::string message = "ended by the test") {
    std::lock_guard const lock(state_->mutex);
    auto& machine = find(id);
    machine.phase = phase::ended;
    machine.endpoint.reset();
    machine.message = std::move(message);
  }
  /// What `logs` returns for a machine.
  void set_logs(std::string const& id, std::string text) {
    std::lock_guard const lock(state_->mutex);
    state_->logs[id] = std::move(text);
  }
  /// The options of every launch, in order.
  [[nodiscard]] std::vector<launch_options> launches() const {
    std::lock_guard const lock(state_->mutex);
    return state_->launches;
  }
  /// The ids that `stop` was called for, in order.
  [[nodiscard]] std::vector<std::string> stopped() const {
    std::lock_guard const lock(state_->mutex);
    return state_->stopped;
  }
  /// Machines that run.
  [[nodiscard]] std::size_t running() const {
    std::lock_guard const lock(state_->mutex);
    std::size_t n = 0;
    for (auto const& [id, machine] : state_->machines)
      n += machine.phase == phase::running;
    return n;
  }

  /// "Starts" a machine.
  template <transport T>
  instance launch(T&, launch_options const& options) {
    std::lock_guard const lock(state_->mutex);
    state_->launches.push_back(options);
    if (auto failure = std::exchange(state_->failure, std::nullopt))
      throw *failure;
    instance machine;
    machine.id = "fake-" + std::to_string(++state_->last_id);
    machine.phase = phase::running;
    machine.endpoint = state_->where(machine.id);
    machine.labels = options.labels;
    state_->machines[machine.id] = machine;
    return machine;
  }
  /// Looks at one machine.
  template <transport T>
  instance inspect(T&, std::string const& id) {
    std::lock_guard const lock(state_->mutex);
    return find(id);
  }
  /// Lists the machines that carry the labels.
  template <transport T>
  std::vector<instance> list(T&, label_filter const& filter) {
    std::lock_guard const lock(state_->mutex);
    std::vector<instance> out;
    for (auto const& [id, machine] : state_->machines) {
      bool fits = machine.phase != phase::ended;
      for (auto const& [key, value] : filter) {
        auto const label = machine.labels.find(key);
        fits = fits && label != machine.labels.end() && label->second == value;
      }
      if (fits)
        out.push_back(machine);
    }
    return out;
  }
  /// Ends a machine.
  template <transport T>
  void stop(T&, std::string const& id) {
    std::lock_guard const lock(state_->mutex);
    state_->stopped.push_back(id);
    auto& machine = find(id);
    machine.phase = phase::ended;
    machine.endpoint.reset();
    machine.message = "stopped";
  }
  /// What the machine "printed".
  template <transport T>
  std::string logs(T&, std::string const& id) {
    std::lock_guard const lock(state_->mutex);
    static_cast<void>(find(id));
    return state_->logs[id];
  }

 private:
  struct state {
    std::mutex mutex = {};
    endpoint_maker where = {};
    std::map<std::string, instance> machines = {};
    std::map<std::string, std::string> logs = {};
    std::vector<launch_options> launches = {};
    std::vector<std::string> stopped = {};
    std::optional<error> failure = {};
    unsigned long last_id = 0;
  };

  instance& find(std::string const& id) {
    auto const found = state_->machines.find(id);
    if (found == state_->machines.end())
      throw error(errc::not_found, "there is no machine " + id);
    return found->second;
  }

  std::shared_ptr<state> state_;
};

}  // namespace hf::testing

#endif
