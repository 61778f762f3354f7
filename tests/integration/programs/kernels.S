/* SPDX-License-Identifier: Apache-2.0
 *
 * Loops whose every access is known, code included. Each kernel has a page of code to itself:
 *
 *     line 0    sets registers, starts the phase of the kernel's name, jumps to line 1
 *     line 1..  the loop; a branch that closes a loop is the last instruction of its line, so
 *               that leaving the loop enters the next line
 *     the last  starts the phase "rest"
 *
 * Arrays begin at page boundaries, and nothing touches them before their kernel runs. What follows
 * from that: test_closed_form.py.
 */
#define MARK_REQUEST 0x534c0001 /* what sgxlens_mark() asks for: sgxlens/mark.h */

        .macro request block
        lea     \block(%rip), %rax
        xor     %edx, %edx
        rolq    $3, %rdi
        rolq    $13, %rdi
        rolq    $61, %rdi
        rolq    $51, %rdi
        xchgq   %rbx, %rbx
        .endm

        .macro request_block name
        .data
        .balign 64
request_\name:
        .quad   MARK_REQUEST, 1f, 2f - 1f, 0, 0, 0
1:      .ascii  "\name"
2:
        .text
        .endm

        .macro kernel name
        request_block \name
        .balign 4096
        .globl  kernel_\name
kernel_\name:
        .endm

        /* Starts the phase and goes to line 1. */
        .macro begin name
        request request_\name
        jmp     \name\()_1
        .balign 64
\name\()_1:
        .endm

        /* Pads the line that begins at `start` and closes the loop to `target`. */
        .macro again target, start
        .nops   62 - (. - \start)
        jnz     \target
        .endm

        .macro end
        request request_rest
        ret
        .endm

        .macro array name, bytes
        .bss
        .balign 4096
\name:  .skip   \bytes
        .balign 4096
        .text
        .endm

        .macro nop8 count
        .rept   \count
        .byte   0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
        .endr
        .endm
        .macro nop4
        .byte   0x0f, 0x1f, 0x40, 0
        .endm

        request_block rest

/* ---- nothing ---- */
        kernel  empty
        begin   empty
        end

/* ---- code: 100 turns of 26 instructions over three lines; the third is entered by an instruction
   that begins in the second ---- */
        kernel  code
        mov     $100, %ecx
        begin   code
        nop8    8
        nop8    7
        nop4
        nop8    1 /* bytes 60 to 67 */
        dec     %ecx
        nop8    6
        nop4
        .byte   0x0f, 0x85 /* jnz, in 6 bytes */
        .long   code_1 - (. + 4)
        end

/* ---- streaming: 16 pages, 8 bytes a turn ---- */
        kernel  stream_load
        lea     stream_load_data(%rip), %rsi
        mov     $8192, %ecx
        begin   stream_load
        mov     (%rsi), %r8
        add     $8, %rsi
        dec     %ecx
        again   stream_load_1, stream_load_1
        end
        array   stream_load_data, 65536

        kernel  stream_store
        lea     stream_store_data(%rip), %rsi
        mov     $8192, %ecx
        begin   stream_store
        mov     %r8, (%rsi)
        add     $8, %rsi
        dec     %ecx
        again   stream_store_1, stream_store_1
        end
        array   stream_store_data, 65536

/* the same downwards, with an index and a negative displacement */
        kernel  indexed_load
        lea     indexed_load_data(%rip), %rsi
        mov     $8192, %ecx
        begin   indexed_load
        mov     -8(%rsi, %rcx, 8), %r8
        dec     %ecx
        again   indexed_load_1, indexed_load_1
        end
        array   indexed_load_data, 65536

/* ---- a stack: 8 words, one line, a turn; 16 pages. call and return 1,000 times ---- */
        kernel  push
        mov     %rsp, %r9
        lea     push_data + 65536(%rip), %rsp
        mov     $1024, %ecx
        begin   push
        .rept   8
        push    %r8
        .endr
        dec     %ecx
        again   push_1, push_1
        mov     %r9, %rsp
        end
        array   push_data, 65536

        kernel  pop
        mov     %rsp, %r9
        lea     pop_data(%rip), %rsp
        mov     $1024, %ecx
        begin   pop
        pop     %rax
        pop     %rdx
        pop     %rsi
        pop     %rdi
        pop     %r8
        pop     %r10
        pop     %r11
        add     (%rsp), %r11
        lea     8(%rsp), %rsp
        dec     %ecx
        again   pop_1, pop_1
        mov     %r9, %rsp
        end
        array   pop_data, 65536

        kernel  call
        mov     %rsp, %r9
        lea     call_data + 64(%rip), %rsp
        mov     $1000, %ecx
        begin   call
        call    1f
        dec     %ecx
        again   call_1, call_1
        mov     %r9, %rsp
        end
        .balign 64
1:      ret
        array   call_data, 4096

/* ---- one word loaded twice a turn, both used or the first overwritten ---- */
        .macro  twice name, register
        kernel  \name
        lea     twice_data(%rip), %rsi
        mov     $100, %ecx
        begin   \name
        mov     (%rsi), %r8
        mov     (%rsi), \register
        dec     %ecx
        again   \name\()_1, \name\()_1
        end
        .endm

        array   twice_data, 4096
        twice   load_twice, %r9
        twice   load_unused, %r8

/* ---- cyclic: 5 rounds over 64 pages, one load a line; line 2 begins the next round ---- */
        kernel  cyclic
        lea     cyclic_data(%rip), %rsi
        mov     $4096, %ecx
        mov     $5, %r9d
        begin   cyclic
        mov     (%rsi), %r8
        add     $64, %rsi
        dec     %ecx
        again   cyclic_1, cyclic_1
cyclic_2:
        mov     $4096, %ecx
        sub     $262144, %rsi
        dec     %r9d
        again   cyclic_1, cyclic_2
        end
        array   cyclic_data, 262144

/* ---- a chain through 64 pages in an order drawn by the test; 3 rounds ---- */
        kernel  permutation
        lea     permutation_data(%rip), %rsi
        xor     %r8d, %r8d
        mov     $12288, %ecx
        begin   permutation
        mov     (%rsi, %r8), %r8
        dec     %ecx
        again   permutation_1, permutation_1
        end
        .data
        .balign 4096
permutation_data:
        .include "permutation.inc" /* of each line, where the next is: .quad OFFSET; .skip 56 */
        .balign 4096
        .text

/* ---- accesses that cross from each line into the next, from 16 pages into a 17th ---- */
        .macro  crossing name, bytes:vararg
        kernel  \name
        lea     \name\()_data(%rip), %rsi
        mov     $1024, %ecx
        begin   \name
        \bytes
        add     $64, %rsi
        dec     %ecx
        again   \name\()_1, \name\()_1
        end
        array   \name\()_data, 65600
        .endm

        crossing crossing_load, mov 60(%rsi), %r8
        crossing crossing_store, mov %r8, 60(%rsi)
        crossing crossing_vector, vmovups 48(%rsi), %ymm0

/* ---- read-modify-write, one a line, 16 pages ---- */
        .macro  modify name, instruction:vararg
        kernel  \name
        lea     \name\()_data(%rip), %rsi
        mov     $1024, %ecx
        xor     %r8d, %r8d
        begin   \name
        \instruction
        add     $64, %rsi
        dec     %ecx
        again   \name\()_1, \name\()_1
        end
        array   \name\()_data, 65536
        .endm

        modify  add_memory, addq $1, (%rsi)
        modify  lock_add, lock addq $1, (%rsi)
        modify  lock_xadd, lock xaddq %r8, (%rsi)
        modify  exchange, xchgq %r8, (%rsi)
        /* rax is not 0, so the comparison fails: the old value is stored then */
        modify  lock_cmpxchg, lock cmpxchgq %r8, (%rsi)
        modify  lock_cmpxchg16b, lock cmpxchg16b (%rsi)

/* ---- rep movs: 1,024 words of 8 bytes ---- */
        kernel  rep_movs
        lea     rep_movs_from(%rip), %rsi
        mov     $1024, %ecx
        mov     %rdi, %r8
        begin   rep_movs
        lea     rep_movs_to(%rip), %rdi
        .balign 64
        rep movsq
        mov     %r8, %rdi
        jmp     1f
        .balign 64
1:      end
        array   rep_movs_from, 8192
        array   rep_movs_to, 8192

/* ---- guarded: 8 lanes of 4 bytes from byte 48 of each line on, of which the mask lets through 0 and
   1, in this line, or 0 and 7, the latter in the next ---- */
        .macro  masked name, mask, instruction:vararg
        kernel  \name
        lea     \name\()_data(%rip), %rsi
        mov     $1024, %ecx
        vmovups \mask(%rip), %ymm1
        jmp     1f
        .balign 64
1:      begin   \name
        \instruction
        add     $64, %rsi
        dec     %ecx
        again   \name\()_1, \name\()_1
        end
        array   \name\()_data, 65600
        .endm

        .data
mask_01: .long  -1, -1, 0, 0, 0, 0, 0, 0
mask_07: .long  -1, 0, 0, 0, 0, 0, 0, -1
mask_none: .long 0, 0, 0, 0, 0, 0, 0, 0
        .text
        masked  masked_load, mask_01, vmaskmovps 48(%rsi), %ymm1, %ymm0
        masked  masked_load_over, mask_07, vmaskmovps 48(%rsi), %ymm1, %ymm0
        masked  masked_store, mask_01, vmaskmovps %ymm0, %ymm1, 48(%rsi)
        masked  masked_nothing, mask_none, vmaskmovps 48(%rsi), %ymm1, %ymm0

/* ---- system calls: the kernel writes 16 pages, then reads them. kernel_transfer(from, to) ---- */
        kernel  transfer
        mov     %rsi, %r8
        lea     transfer_data(%rip), %rsi
        begin   transfer
        mov     $65536, %edx
        xor     %eax, %eax /* read */
        syscall
        mov     %r8, %rdi
        mov     $65536, %edx
        mov     $1, %eax /* write */
        syscall
        jmp     1f
        .balign 64
1:      end
        array   transfer_data, 65536

/* ---- what traps in an enclave: 3 times CPUID leaf 4 subleaf 2, RDTSC and twice RDTSCP ---- */
        kernel  traps
        mov     $3, %esi
        mov     %rbx, %r8
        begin   traps
        mov     $4, %eax
        mov     $2, %ecx
        cpuid
        rdtsc
        rdtscp
        rdtscp
        dec     %esi
        again   traps_1, traps_1
        mov     %r8, %rbx
        end
        .balign 4096 /* what the linker puts next has its own lines */

        .section .note.GNU-stack, "", @progbits
