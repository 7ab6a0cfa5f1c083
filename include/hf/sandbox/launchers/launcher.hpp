#ifndef HF_SANDBOX_LAUNCHERS_LAUNCHER_HPP
#define HF_SANDBOX_LAUNCHERS_LAUNCHER_HPP

#include <hf/sandbox/agent/endpoint.hpp>
#include <hf/sandbox/agent/health.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/options.hpp>

#include <concepts>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace hf {

/// Where a machine is in its life.
enum class phase { starting, running, ended };

/// A machine as its launcher sees it.
struct instance {
  /// The launcher's id for the machine; what `connect` takes.
  std::string id = {};
  /// Where it is in its life.
  hf::phase phase = hf::phase::starting;
  /// How to reach the agent; nothing while that is not known or the machine has ended.
  std::optional<hf::endpoint> endpoint = {};
  /// Its labels.
  std::map<std::string, std::string> labels = {};
  /// What the launcher says about the state, for people.
  std::string message = {};
  /// What the agent said while the launcher waited for it; nothing when it was not asked.
  std::optional<agent_health> health = {};
};

/// Why a machine is ended; for launchers that want to know (`stop(t, id, reason)`).
enum class end_reason { user, destructor, atexit };

/// Labels that a machine must carry to be listed: all of them. Empty: every sandbox.
using label_filter = std::map<std::string, std::string>;

/// Something that starts, finds and ends machines whose entry point is the agent.
///
/// Every call takes the transport as an argument, so that one transport serves the launcher and the
/// agent behind it, and a scripted one tests a whole launch.
///
///  1. `launch` returns a machine whose agent has answered `/health`, or throws and leaves nothing
///     behind: no machine, process, file or directory. A `launch_options` field that the launcher
///     cannot honour is refused with `errc::unsupported` and the field's name.
///  2. `inspect` throws `errc::not_found` for an unknown id.
///  3. `list` returns the machines of this launcher that have not ended and carry the labels.
///  4. `stop` ends a machine and all it holds. Ending one that has ended is not an error.
///  5. `logs` returns the tail of what the machine printed; empty when there is none.
///  6. Calls may come from several threads at once.
///
/// Optional members, used where a launcher has them: `release(t, id)` makes a machine outlive its
/// creator; `stop(t, id, end_reason)` is called in place of `stop(t, id)`; `metrics(t, id,
/// on_sample, stop)`, `labels(t, id, labels)`.
template <class L, class T>
concept launcher = std::movable<L> && transport<T> &&
    requires(L& l, T& t, launch_options const& o, std::string const& id, label_filter const& f) {
  { l.launch(t, o) } -> std::same_as<instance>;
  { l.inspect(t, id) } -> std::same_as<instance>;
  { l.list(t, f) } -> std::same_as<std::vector<instance>>;
  { l.stop(t, id) } -> std::same_as<void>;
  { l.logs(t, id) } -> std::same_as<std::string>;
};

}  // namespace hf

#endif
