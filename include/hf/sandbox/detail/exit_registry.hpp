#ifndef HF_SANDBOX_DETAIL_EXIT_REGISTRY_HPP
#define HF_SANDBOX_DETAIL_EXIT_REGISTRY_HPP

#include <hf/sandbox/detail/crypto.hpp>

#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

namespace hf::detail {

/// What has to be ended when the program leaves through `std::exit` while it is still alive.
///
/// Never destroyed, so that objects with static storage may still take themselves out. OpenSSL is
/// initialised first: exit handlers run in reverse order, and ours still needs it.
template <class End = std::function<void()>>
class exit_registry {
 public:
  static exit_registry& get() {
    static exit_registry* const registry = [] {
      crypto_init();
      auto* const made = new exit_registry;
      std::atexit([] { get().run(); });
      return made;
    }();
    return *registry;
  }

  /// Calls `end` at exit unless `remove(key)` comes before. `end` must not throw.
  void add(void const* key, End end) {
    std::lock_guard const lock(mutex_);
    entries_[key] = std::move(end);
  }

  void remove(void const* key) {
    std::lock_guard const lock(mutex_);
    entries_.erase(key);
  }

 private:
  exit_registry() = default;

  void run() {
    for (;;) {
      End end;
      {
        std::lock_guard const lock(mutex_);
        if (entries_.empty())
          return;
        end = std::move(entries_.begin()->second);
        entries_.erase(entries_.begin());
      }
      end();
    }
  }

  std::mutex mutex_;
  std::map<void const*, End> entries_;
};

}  // namespace hf::detail

#endif
