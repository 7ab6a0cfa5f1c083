#ifndef HF_SANDBOX_AGENT_LIFETIME_ACTIVITY_HPP
#define HF_SANDBOX_AGENT_LIFETIME_ACTIVITY_HPP

#include <chrono>
#include <cstdint>

namespace hf::agent {

/// What keeps the agent from being idle: things going on now, and the time since the last one.
/// Used on the event loop's thread only.
class activity {
 public:
  using clock = std::chrono::steady_clock;

  /// Something that goes on (a run, a stream, a transfer, a tunnel) for as long as this lives.
  class guard {
   public:
    explicit guard(activity& owner) : owner_(&owner) { ++owner_->running_; }
    guard(guard&& other) noexcept : owner_(other.owner_) { other.owner_ = nullptr; }
    guard(guard const&) = delete;
    guard& operator=(guard const&) = delete;
    guard& operator=(guard&&) = delete;
    ~guard() {
      if (owner_ == nullptr)
        return;
      --owner_->running_;
      owner_->touch();
    }

   private:
    activity* owner_;
  };

  [[nodiscard]] guard hold() { return guard(*this); }
  /// Something happened just now.
  void touch() { last_ = clock::now(); }
  /// How long nothing has happened; zero while something goes on.
  [[nodiscard]] clock::duration idle() const {
    return running_ > 0 ? clock::duration::zero() : clock::now() - last_;
  }

 private:
  std::int64_t running_ = 0;
  clock::time_point last_ = clock::now();
};

}  // namespace hf::agent

#endif
