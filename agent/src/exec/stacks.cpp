#include "exec/stacks.hpp"

#include "exec/spawn.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <unordered_map>
#include <vector>

namespace hf::agent {
namespace {

// Generous: sanitizers make frames large, and untouched pages cost nothing.
constexpr std::size_t child_stack_size = 256 * 1024;
constexpr std::size_t helper_stack_size = 64 * 1024;
constexpr std::size_t kept_helper_stacks = 64;

struct lent_stacks {
  std::unordered_map<pid_t, helper_stack> in_use;
  std::vector<helper_stack> free;
};

// Processes may still run on these when the agent's destructors do: never freed.
lent_stacks& stacks() {
  static auto* const all = new lent_stacks;
  return *all;
}

}  // namespace

helper_stack::helper_stack(std::size_t size) : size_(size) {
  void* const base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED)
    return;
  auto const page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  ::mprotect(base, page, PROT_NONE);
  base_ = base;
}

helper_stack::~helper_stack() {
  if (base_ != nullptr)
    ::munmap(base_, size_);
}

helper_stack& child_stack() {
  static auto* const stack = new helper_stack(child_stack_size);
  return *stack;
}

helper_stack take_helper_stack() {
  auto& free = stacks().free;
  if (free.empty())
    return helper_stack(helper_stack_size);
  helper_stack stack = std::move(free.back());
  free.pop_back();
  return stack;
}

void lend_helper_stack(pid_t helper, helper_stack stack) {
  stacks().in_use.insert_or_assign(helper, std::move(stack));
}

void recycle_helper(pid_t helper) {
  auto& all = stacks();
  auto const it = all.in_use.find(helper);
  if (it == all.in_use.end())
    return;
  if (all.free.size() < kept_helper_stacks)
    all.free.push_back(std::move(it->second));
  all.in_use.erase(it);
}

}  // namespace hf::agent
