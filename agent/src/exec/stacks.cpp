#include "exec/stacks.hpp"

#include "exec/spawn.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <unordered_map>
#include <vector>

namespace hf::agent {
namespace {

// Generous: a helper and the command that it starts run on it, and untouched pages cost nothing.
constexpr std::size_t stack_size = 256 * 1024;
constexpr std::size_t kept_stacks = 64;

struct lent_stacks {
  std::unordered_map<pid_t, process_stack> in_use;
  std::vector<process_stack> free;
};

// Processes may still run on these when the agent's destructors do: never freed.
lent_stacks& stacks() {
  static auto* const all = new lent_stacks;
  return *all;
}

}  // namespace

process_stack::process_stack(std::size_t size) : size_(size) {
  void* const base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED)
    return;
  auto const page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  ::mprotect(base, page, PROT_NONE);
  base_ = base;
}

process_stack::~process_stack() {
  if (base_ != nullptr)
    ::munmap(base_, size_);
}

process_stack take_stack() {
  auto& free = stacks().free;
  if (free.empty())
    return process_stack(stack_size);
  process_stack stack = std::move(free.back());
  free.pop_back();
  return stack;
}

void give_back_stack(process_stack stack) {
  if (stack && stacks().free.size() < kept_stacks)
    stacks().free.push_back(std::move(stack));
}

void lend_stack(pid_t process, process_stack stack) {
  stacks().in_use.insert_or_assign(process, std::move(stack));
}

void recycle_stack(pid_t process) {
  auto& in_use = stacks().in_use;
  auto const it = in_use.find(process);
  if (it == in_use.end())
    return;
  give_back_stack(std::move(it->second));
  in_use.erase(it);
}

}  // namespace hf::agent
