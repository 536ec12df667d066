set terminal svg noenhanced size 720,420 font 'Helvetica,12' background '#ffffff'
set encoding utf8
set output 'x.svg'
set border 3 lc rgb '#666666'
set tics nomirror out scale 0.5 textcolor rgb '#222222'
set grid ytics lc rgb '#dddddd' lt 1
set key off
set style fill solid 1
set tmargin 4
set label 1 'Epoch time by devices' at graph 0, graph 1 left offset 0,2.2 font ',15' tc rgb '#111111'
set label 2 'simulated; the band is 5 % to 95 % of the epochs with jitter' at graph 0, graph 1 left offset 0,0.9 tc rgb '#666666'
set rmargin 7
set yrange [0:0.1471118]
set ylabel 's'
set xlabel 'devices'
set xtics ('1' 1, '2' 2)
set xrange [0.97:2.03]
set label 1 offset 0,3.4
set label 2 offset 0,2.1
set multiplot layout 1,2 margins char 9,char 7,char 4,char 6.2 spacing char 8,char 1
set label 'loader.lanes = 1' at graph 0, graph 1 left offset 0,0.6 tc rgb '#444444'
set label 'ahd' at graph 1.02, first 0.07056 left tc rgb '#882255'
set label 'dp' at graph 1.02, first 0.08091 left tc rgb '#888888'
$p0_dp << END
1 0.13362 0.133430945 0.133738
2 0.08091 0.08134507 0.081534097
END
$p0_ahd << END
1 0.12356 0.123393655 0.123737811
2 0.07056 0.070458683 0.070706799
END
plot $p0_dp using 1:3:4 with filledcurves fs transparent solid 0.25 noborder fc rgb '#888888', \
    $p0_dp using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb '#888888', \
    $p0_ahd using 1:3:4 with filledcurves fs transparent solid 0.25 noborder fc rgb '#882255', \
    $p0_ahd using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb '#882255'
set ylabel ''
set format y ''
unset label
set label 'loader.lanes = 2' at graph 0, graph 1 left offset 0,0.6 tc rgb '#444444'
set label 'ahd' at graph 1.02, first 0.07056 left tc rgb '#882255'
set label 'dp' at graph 1.02, first 0.08083 left tc rgb '#888888'
$p1_dp << END
1 0.13362 0.133430945 0.133738
2 0.08083 0.081272721 0.0814636
END
$p1_ahd << END
1 0.12356 0.123393655 0.123737811
2 0.07056 0.070458683 0.070706799
END
plot $p1_dp using 1:3:4 with filledcurves fs transparent solid 0.25 noborder fc rgb '#888888', \
    $p1_dp using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb '#888888', \
    $p1_ahd using 1:3:4 with filledcurves fs transparent solid 0.25 noborder fc rgb '#882255', \
    $p1_ahd using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb '#882255'
unset multiplot
unset output
