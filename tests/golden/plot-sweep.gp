set terminal svg noenhanced size 620,400 font 'Helvetica,12' background '#ffffff'
set encoding utf8
set output 'x.svg'
set border 3 lc rgb '#666666'
set tics nomirror out scale 0.5 textcolor rgb '#222222'
set grid ytics lc rgb '#dddddd' lt 1
set key off
set style fill solid 1
set tmargin 4
set label 1 'Speedup over DP by devices' at graph 0, graph 1 left offset 0,2.2 font ',15' tc rgb '#111111'
set label 2 'simulated; where dp is not possible there is no speedup' at graph 0, graph 1 left offset 0,0.9 tc rgb '#666666'
set rmargin 7
set yrange [0:1.260105]
set ylabel 'times DP'
set xlabel 'devices'
set xtics ('1' 1, '2' 2, '3' 3)
set xrange [0.94:3.06]
set label 'dp' at graph 1.02, first 1 left tc rgb '#888888'
set label 'dpu' at graph 1.02, first 1.14555 left tc rgb '#332288'
set label 'ahd' at graph 1.02, first 1.20855525 left tc rgb '#882255'
$p0_dp << END
1 1 1 1
2 1 1 1

END
$p0_dpu << END
1 1.081418 1.081418 1.081418
2 1.14555 1.14555 1.14555

END
$p0_ahd << END
1 1.081418 1.081418 1.081418
2 1.14555 1.14555 1.14555

END
plot $p0_dp using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb '#888888', \
    $p0_dpu using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb '#332288', \
    $p0_ahd using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb '#882255'
unset output
