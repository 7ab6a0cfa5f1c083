#ifndef HF_SANDBOX_DETAIL_EXIT_REGISTRY_HPP
#define HF_SANDBOX_DETAIL_EXIT_REGISTRY_HPP

#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/detail/process_id.hpp>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace hf::detail {

/// What has to be ended when the program leaves through `std::exit` while it is still alive.
///
/// Never destroyed, so that objects with static storage may still take themselves out. OpenSSL is
/// initialised first: exit handlers run in reverse order, and ours still needs it.
///
/// A forked child inherits the entries of its parent. They are the parent's to end: `run` passes
/// them over, and does not even lock, as another thread may have held the lock at the fork.
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
    entries_[key] = {std::move(end), process_id()};
    last_user_ = process_id();
  }

  /// Keeps for ever what a forked child must not destroy, because its destructors would act on
  /// connections and threads of the parent.
  void keep(std::shared_ptr<void const> object) {
    auto* const made = new kept{std::move(object), kept_.load()};
    while (!kept_.compare_exchange_weak(made->next, made)) {
    }
  }

  void remove(void const* key) {
    std::lock_guard const lock(mutex_);
    entries_.erase(key);
  }

 private:
  exit_registry() = default;

  struct kept {
    std::shared_ptr<void const> object;
    kept* next;
  };
  struct entry {
    End end;
    long process = 0;
  };

  void run() {
    long const self = process_id();
    while (last_user_ == self) {
      End end;
      {
        std::lock_guard const lock(mutex_);
        auto const own = std::find_if(entries_.begin(), entries_.end(), [&](auto const& each) {
          return each.second.process == self;
        });
        if (own == entries_.end())
          return;
        end = std::move(own->second.end);
        entries_.erase(own);
      }
      end();
    }
  }

  std::mutex mutex_;
  std::map<void const*, entry> entries_;
  std::atomic<kept*> kept_{nullptr};
  /// The process that added an entry most recently.
  std::atomic<long> last_user_{0};
};

}  // namespace hf::detail

#endif
