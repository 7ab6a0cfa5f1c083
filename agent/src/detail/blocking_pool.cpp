#include "detail/blocking_pool.hpp"

#include <system_error>

namespace hf::agent {

blocking_pool::blocking_pool(options bounds) : bounds_(bounds) {
  std::lock_guard const lock(mutex_);
  while (running_ < bounds_.least)
    add_thread(true);
}

blocking_pool::~blocking_pool() {
  {
    std::lock_guard const lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  wake_.notify_all();
  for (auto& one : threads_)
    if (one.joinable())
      one.join();
}

std::size_t blocking_pool::threads() const {
  std::lock_guard const lock(mutex_);
  return running_;
}

bool blocking_pool::overloaded() const {
  if (bounds_.overloaded_after.count() == 0)
    return false;
  std::lock_guard const lock(mutex_);
  return running_ >= bounds_.most && idle_ == 0 && !waiting_.empty() &&
         clock::now() - waiting_.front()->since >= bounds_.overloaded_after;
}

void blocking_pool::add(std::unique_ptr<task> one) {
  {
    std::lock_guard const lock(mutex_);
    waiting_.push_back(std::move(one));
    if (waiting_.size() > idle_ && running_ < bounds_.most) {
      try {
        add_thread(false);
      } catch (std::system_error const&) {
        // No thread to be had: the work waits for one of those there are.
      }
    }
  }
  wake_.notify_one();
}

void blocking_pool::add_thread(bool permanent) {
  if (ended_.empty()) {
    threads_.emplace_back();
    ended_.push_back(threads_.size() - 1);
  }
  auto& place = threads_[ended_.back()];
  if (place.joinable())
    place.join();
  place = std::thread([this, at = ended_.back(), permanent] { serve(at, permanent); });
  ended_.pop_back();
  ++running_;
}

void blocking_pool::serve(std::size_t place, bool permanent) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (waiting_.empty()) {
      ++idle_;
      bool const woken = wake_.wait_for(lock, permanent ? std::chrono::hours(24) : bounds_.idle,
                                        [this] { return stopping_ || !waiting_.empty(); });
      --idle_;
      if (!woken && !permanent)
        break;
      continue;
    }
    auto one = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    one->run();
    one.reset();
    lock.lock();
  }
  --running_;
  ended_.push_back(place);
}

}  // namespace hf::agent
