#ifndef HF_SANDBOX_ANY_LAUNCHER_HPP
#define HF_SANDBOX_ANY_LAUNCHER_HPP

#include <hf/sandbox/any_transport.hpp>
#include <hf/sandbox/detail/owner.hpp>
#include <hf/sandbox/launchers/launcher.hpp>
#include <hf/sandbox/options.hpp>

#include <concepts>
#include <string>
#include <utility>
#include <vector>

namespace hf {

/// Any launcher behind one type, for use with `any_transport`.
///
/// Behaves as what it holds, also towards threads. What only some launchers can do (metrics,
/// labels) needs the launcher's own type. A moved-from object can only be destroyed or assigned to.
class any_launcher {
 public:
  /// Takes a launcher over.
  template <class L>
  requires(!std::same_as<L, any_launcher>) && launcher<L, any_transport> any_launcher(L held)
      : held_(new holder<L>(std::move(held))) {}

  /// Starts a machine with the launcher inside.
  template <std::same_as<any_transport> T>
  instance launch(T& through, launch_options const& options) {
    return held_->launch(through, options);
  }
  /// Looks at one machine.
  template <std::same_as<any_transport> T>
  instance inspect(T& through, std::string const& id) {
    return held_->inspect(through, id);
  }
  /// Lists the machines that carry the labels.
  template <std::same_as<any_transport> T>
  std::vector<instance> list(T& through, label_filter const& filter) {
    return held_->list(through, filter);
  }
  /// Ends a machine.
  template <std::same_as<any_transport> T>
  void stop(T& through, std::string const& id) {
    held_->stop(through, id, end_reason::user);
  }
  /// Tells launchers that want to know why a machine ends.
  template <std::same_as<any_transport> T>
  void stop(T& through, std::string const& id, end_reason reason) {
    held_->stop(through, id, reason);
  }
  /// The tail of what a machine printed.
  template <std::same_as<any_transport> T>
  std::string logs(T& through, std::string const& id) {
    return held_->logs(through, id);
  }
  /// Makes a machine outlive its creator; does nothing where machines do so anyway.
  template <std::same_as<any_transport> T>
  void release(T& through, std::string const& id) {
    held_->release(through, id);
  }

 private:
  struct base {
    virtual ~base() = default;
    virtual instance launch(any_transport& t, launch_options const& options) = 0;
    virtual instance inspect(any_transport& t, std::string const& id) = 0;
    virtual std::vector<instance> list(any_transport& t, label_filter const& filter) = 0;
    virtual void stop(any_transport& t, std::string const& id, end_reason reason) = 0;
    virtual std::string logs(any_transport& t, std::string const& id) = 0;
    virtual void release(any_transport& t, std::string const& id) = 0;
  };
  template <class L>
  struct holder final : base {
    explicit holder(L l) : held(std::move(l)) {}
    instance launch(any_transport& t, launch_options const& options) override {
      return held.launch(t, options);
    }
    instance inspect(any_transport& t, std::string const& id) override {
      return held.inspect(t, id);
    }
    std::vector<instance> list(any_transport& t, label_filter const& filter) override {
      return held.list(t, filter);
    }
    void stop(any_transport& t, std::string const& id, end_reason reason) override {
      if constexpr (requires { held.stop(t, id, reason); })
        held.stop(t, id, reason);
      else
        held.stop(t, id);
    }
    std::string logs(any_transport& t, std::string const& id) override { return held.logs(t, id); }
    void release([[maybe_unused]] any_transport& t,
                 [[maybe_unused]] std::string const& id) override {
      if constexpr (requires { held.release(t, id); })
        held.release(t, id);
    }
    L held;
  };

  detail::owner<base> held_;
};

}  // namespace hf

#endif
