#include "unit/fifos.h"
int main(void){return 0;}
