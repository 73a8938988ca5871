/* The ways into and out of the shim, and the few instruction sequences whose addresses handlers know. */
#include "shim.h"

	.text

/* Leave a signal handler that nobody returns to: rdi, rsi as below. */
	.globl shim_begin
shim_begin:
	lea	OA_AREA_STACK_TOP(%rdi), %rsp
	pushq	$0x202			/* EFLAGS_CLEAN */
	popfq

/* A signal handler sends a thread here: rdi = its area, rsi = what to do, on the shim's own stack. */
	.globl shim_enter
shim_enter:
	mov	%rdi, %rbx
	call	*%rsi
	mov	%rbx, %rdi

/* Back to the guest. Invariant: between shim_return and shim_return_end the area is only read, so that a
 * kick that lands here can begin again at shim_restart; a kick before is seen by the comparison. */
	.globl shim_return, shim_return_end, shim_restart
shim_restart:
shim_return:
	mov	AREA_SLOT(%rdi), %rax
	cmpl	$0, OA_SLOT_KICK(%rax)
	jne	kicked
	cmpl	$0, AREA_FULL(%rdi)
	jne	full
	pushq	R_RFLAGS(%rdi)
	popfq
	mov	R_RAX(%rdi), %rax
	mov	R_RBX(%rdi), %rbx
	mov	R_RDX(%rdi), %rdx
	mov	R_RSI(%rdi), %rsi
	mov	R_RBP(%rdi), %rbp
	mov	R_R8(%rdi), %r8
	mov	R_R9(%rdi), %r9
	mov	R_R10(%rdi), %r10
	mov	R_R12(%rdi), %r12
	mov	R_R13(%rdi), %r13
	mov	R_R14(%rdi), %r14
	mov	R_R15(%rdi), %r15
	mov	R_RIP(%rdi), %rcx
	mov	R_RFLAGS(%rdi), %r11
	mov	R_RSP(%rdi), %rsp
	mov	R_RDI(%rdi), %rdi
	jmp	*%rcx
full:
	pushq	$0x2b
	pushq	R_RSP(%rdi)
	pushq	R_RFLAGS(%rdi)
	pushq	$0x33
	pushq	R_RIP(%rdi)
	mov	R_RAX(%rdi), %rax
	mov	R_RBX(%rdi), %rbx
	mov	R_RCX(%rdi), %rcx
	mov	R_RDX(%rdi), %rdx
	mov	R_RSI(%rdi), %rsi
	mov	R_RBP(%rdi), %rbp
	mov	R_R8(%rdi), %r8
	mov	R_R9(%rdi), %r9
	mov	R_R10(%rdi), %r10
	mov	R_R11(%rdi), %r11
	mov	R_R12(%rdi), %r12
	mov	R_R13(%rdi), %r13
	mov	R_R14(%rdi), %r14
	mov	R_R15(%rdi), %r15
	mov	R_RDI(%rdi), %rdi
	iretq
shim_return_end:

kicked:
	mov	%rdi, %rbx
	call	shim_kick
	mov	%rbx, %rdi
	jmp	shim_return

/* A host call that sleeps: (slot, number, args). A kick that lands before the syscall instruction has
 * run is sent to blocking_abort by the handler, as with a restartable sequence: no wake-up is lost. */
	.globl blocking_call, blocking_begin, blocking_end, blocking_abort
blocking_call:
	mov	%rdi, %r11
	mov	%rsi, %rax
	mov	%rdx, %rcx
	mov	0(%rcx), %rdi
	mov	8(%rcx), %rsi
	mov	16(%rcx), %rdx
	mov	24(%rcx), %r10
	mov	32(%rcx), %r8
	mov	40(%rcx), %r9
blocking_begin:
	cmpl	$0, OA_SLOT_KICK(%r11)
	jne	blocking_abort
	syscall
blocking_end:
	ret
blocking_abort:
	mov	$-4, %rax
	ret

/* Access to the guest's memory: a fault between user_copy and user_copy_end continues at user_fault. */
	.globl user_copy, user_copy_end, user_fault
	.globl copy_user, zero_user, copy_user_string, load_user32, store_user32, swap_user32, restore_fpu, save_fpu
user_copy:
copy_user:
	mov	%rdx, %rcx
	rep movsb
	xor	%eax, %eax
	ret
zero_user:
	mov	%rsi, %rcx
	xor	%eax, %eax
	rep stosb
	ret
copy_user_string:			/* the length, or limit when there is no end */
	xor	%ecx, %ecx
1:	cmp	%rdx, %rcx
	jae	2f
	movzbl	(%rsi,%rcx), %eax
	mov	%al, (%rdi,%rcx)
	test	%al, %al
	jz	2f
	inc	%rcx
	jmp	1b
2:	mov	%rcx, %rax
	ret
load_user32:
	mov	(%rdi), %eax
	mov	%eax, (%rsi)
	xor	%eax, %eax
	ret
store_user32:
	mov	%esi, (%rdi)
	xor	%eax, %eax
	ret
swap_user32:
	mov	%esi, %eax
	lock cmpxchg %edx, (%rdi)
	mov	%eax, (%rcx)
	xor	%eax, %eax
	ret
restore_fpu:
	mov	%esi, %eax
	mov	%rsi, %rdx
	shr	$32, %rdx
	xrstor64 (%rdi)
	xor	%eax, %eax
	ret
save_fpu:
	mov	%esi, %eax
	mov	%rsi, %rdx
	shr	$32, %rdx
	xsave64	(%rdi)
	xor	%eax, %eax
	ret
user_copy_end:
user_fault:
	mov	$-14, %rax
	ret

	.globl signal_restorer
signal_restorer:
	mov	$15, %eax
	syscall

/* clone_thread(flags, stack, child_tid, tls, area): the child of a shared address space starts on its own
 * area's stack; the child of a fork goes on here, as the parent does. */
	.globl clone_thread
clone_thread:
	mov	%rdx, %r10		/* child_tid */
	mov	%r8, %r9		/* area: kept by the child */
	mov	%rcx, %r8		/* tls */
	xor	%edx, %edx		/* parent_tid */
	mov	$56, %eax
	syscall
	test	%rax, %rax
	jnz	1f
	test	%r9, %r9
	jz	1f
	xor	%ebp, %ebp
	mov	%r9, %rdi
	lea	thread_main(%rip), %rsi
	jmp	shim_enter
1:	ret

/* The supervisor's entry from exec. */
	.globl _start
_start:
	xor	%ebp, %ebp
	mov	%rsp, %rdi
	and	$-16, %rsp
	call	supervisor_main
	ud2

	.section .note.GNU-stack,"",@progbits
