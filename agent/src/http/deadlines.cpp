#include "http/deadlines.hpp"

#include <algorithm>

namespace hf::agent {

deadlines::entry::entry(deadlines& owner) : owner_(owner), next_(owner.first_) {
  if (next_ != nullptr)
    next_->previous_ = this;
  owner.first_ = this;
}

deadlines::entry::~entry() {
  if (previous_ != nullptr)
    previous_->next_ = next_;
  else
    owner_.first_ = next_;
  if (next_ != nullptr)
    next_->previous_ = previous_;
}

void deadlines::arm(clock::time_point at) {
  wake_ = (std::max)(at, clock::now() + granularity);
  timer_.expires_at(wake_);
  timer_.async_wait([this](boost::system::error_code failed) {
    if (!failed)
      sweep();
  });
}

void deadlines::sweep() {
  auto const now = clock::now();
  wake_ = never;
  auto earliest = never;
  // expire() only cancels operations; nothing leaves the list before the handlers run.
  for (entry* e = first_; e != nullptr; e = e->next_) {
    if (e->at_ <= now) {
      e->at_ = never;
      e->expire();
    }
    earliest = (std::min)(earliest, e->at_);
  }
  if (earliest != never)
    arm(earliest);
}

}  // namespace hf::agent
